"""The colours of every chart: one strong one for the message, grey for context."""

from matplotlib.colors import LinearSegmentedColormap

STRONG, OTHER = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
CONTEXT, QUIET = "#b0b0b0", "#595959"
EMPTY, PALE = "#ededed", "#c9e0f0"
BLUES = LinearSegmentedColormap.from_list("blues", [PALE, STRONG, "#002a45"], under="white")

-- Exactly the manifest's files. COPY takes no bound values: the quoted ones are `literal`s.
copy {{ table }} ({{ columns | join(", ") }})
from {{ manifest | literal }}
iam_role {{ role | literal }}
region {{ region | literal }}
manifest
format as json {{ json | literal }}
{{ "gzip" if gzip }}
timeformat {{ timeformat | literal }}
maxerror {{ maxerror }}
compupdate off
statupdate off

-- All that one batch has brought; the star is built anew after it.
{% for table in ["staging_events", "staging_songs", "load_files", "load_rejects"] %}
delete from {{ table }} where batch_id = :batch_id;

{% endfor %}

-- The reader may read the model. On a cluster of our own only the admin may create anything in its
-- schema; by default every user may.
{% if own %}
revoke create on schema {{ home }} from public;

{% endif %}
grant usage on schema {{ home }} to {{ reader }};

grant select on {{ tables | join(", ") }} to {{ reader }}

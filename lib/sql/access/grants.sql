-- What the reader may do: read the model. On a cluster of our own nobody but the admin creates
-- anything beside it, which everybody otherwise may.
{% if own %}
revoke create on schema {{ home }} from public;

{% endif %}
grant usage on schema {{ home }} to {{ reader }};

grant select on {{ tables | join(", ") }} to {{ reader }}

-- Earlier plays of users whose versions this load has changed: the version now in force.
update songplays
set user_key = versions.user_key, level = versions.level
from (
    select
        changed_versions.user_key as former_key,
        users.user_key,
        users.level,
        users.valid_from,
        users.valid_to
    from changed_versions
    inner join users on changed_versions.user_id = users.user_id
) as versions
where
    songplays.user_key = versions.former_key
    and songplays.user_key <> versions.user_key
    and {{ in_force("versions", "songplays.played_at") }}

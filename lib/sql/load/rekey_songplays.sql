-- Earlier plays of users whose versions this batch has changed: the version now in force.
update songplays
set user_key = versions.user_key, level = versions.level
from (
    select
        former_users.user_key as former_key,
        users.user_key,
        users.level,
        users.valid_from,
        users.valid_to
    from former_users
    inner join users on former_users.user_id = users.user_id
    where former_users.user_id in (
        select former_users.user_id
        from former_users
        left join users on former_users.user_key = users.user_key
        where
            users.user_key is null
            or coalesce(users.valid_to, users.valid_from)
            <> coalesce(former_users.valid_to, former_users.valid_from)
    )
) as versions
where
    songplays.user_key = versions.former_key
    and songplays.user_key <> versions.user_key
    and {{ in_force("versions", "songplays.played_at") }}

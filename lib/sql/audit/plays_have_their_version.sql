-- Star: a play's user version is the one in force when it was played, and its level is that one's.
select songplays.songplay_key, songplays.played_at, songplays.level, users.valid_from, users.valid_to
from {{ plays_of_load() }} as songplays
inner join users on songplays.user_key = users.user_key
where
    songplays.level <> users.level
    or songplays.played_at < users.valid_from
    or songplays.played_at >= users.valid_to

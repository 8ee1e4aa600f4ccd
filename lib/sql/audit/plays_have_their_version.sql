-- Star: a play's user version is the one in force when it was played, and its level is that one's.
select plays.songplay_key, plays.played_at, plays.level, users.valid_from, users.valid_to
from {{ plays_of_load(all) }} as plays
inner join users on plays.user_key = users.user_key
where
    plays.level <> users.level
    or plays.played_at < users.valid_from
    or plays.played_at >= users.valid_to

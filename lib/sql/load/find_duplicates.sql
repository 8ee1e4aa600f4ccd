-- Timestamp, session and item of NextSong events that are there more than once, in the time of this
-- load: delivered twice, or of several users.
drop table if exists shared_timestamps;

create temporary table shared_timestamps as
{{ shared_timestamps(all) }}

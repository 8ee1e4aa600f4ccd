-- Moment, session and item of NextSong events that are there more than once, in the time of this
-- load: delivered twice, or of several users.
drop table if exists shared_moments;

create temporary table shared_moments as
{{ shared_moments(all) }}

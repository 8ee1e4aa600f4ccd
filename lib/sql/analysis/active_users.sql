-- Users with any event, and of them those who played a song, by day.
with recursive {{ days() }}

select
    days.day,
    count(distinct events.user_id) as users,
    count(distinct case when events.page = 'NextSong' then events.user_id end) as listeners
from days
left join staging_events as events
    on days.day = cast(events.start_time as date)
    and events.user_id <> ''
group by days.day
order by days.day

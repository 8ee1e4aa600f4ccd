-- Plays and all events by user agent and user ('' when logged out), which count_by_agent() in
-- lib/analyse/findings.py groups by platform or browser.
select
    user_agent,
    user_id,
    count(case when page = 'NextSong' then 1 end) as plays,
    count(*) as events
from events
group by user_agent, user_id
order by user_agent, user_id

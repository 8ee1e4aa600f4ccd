-- Listeners and plays by US state. The state is the first one in the listener's location (NY for
-- New York-Newark-Jersey City, NY-NJ-PA), or 'unknown'. States with fewer than :least listeners
-- share one row; `states` says how many states a row holds.
with places as (
    select location, user_key, count(*) as plays
    from songplays
    group by location, user_key
),

located as (
    select
        users.user_id,
        split_part(split_part(places.location, ', ', 2), '-', 1) as state,
        places.plays
    from places
    left join users on places.user_key = users.user_key
),

named as (
    select
        user_id,
        plays,
        case
            when state in (
                'AL', 'AK', 'AZ', 'AR', 'CA', 'CO', 'CT', 'DE', 'DC', 'FL', 'GA', 'HI', 'ID', 'IL',
                'IN', 'IA', 'KS', 'KY', 'LA', 'ME', 'MD', 'MA', 'MI', 'MN', 'MS', 'MO', 'MT', 'NE',
                'NV', 'NH', 'NJ', 'NM', 'NY', 'NC', 'ND', 'OH', 'OK', 'OR', 'PA', 'PR', 'RI', 'SC',
                'SD', 'TN', 'TX', 'UT', 'VT', 'VA', 'WA', 'WV', 'WI', 'WY'
            ) then state
            else 'unknown'
        end as state
    from located
),

states as (
    select state, count(distinct user_id) as users
    from named
    group by state
),

shown as (
    select
        state,
        case
            when users >= :least or state = 'unknown' then state
            else 'others, under ' || cast(:least as varchar(20)) || ' users each'
        end as label
    from states
),

counted as (
    select
        shown.label,
        count(distinct named.state) as states,
        count(distinct named.user_id) as users,
        cast(sum(named.plays) as bigint) as plays
    from named
    inner join shown on named.state = shown.state
    group by shown.label
)

select label as state, users, plays, {{ ratio("plays", "users") }} as plays_per_user, states
from counted
order by users desc, label

-- How unequally the plays of :level ('' for all levels) are spread over listeners: the Lorenz
-- curve, from the listener with the fewest plays to the one with the most, in at most 101 points
-- from (0, 0) to (1, 1); and in every row the Gini coefficient, sum((2 * place - 1) * plays) /
-- (listeners * plays) - 1, with places counted from 1.
with listeners as (
    select users.user_id, count(*) as plays
    from songplays
    inner join users on songplays.user_key = users.user_key
    where {{ of_level() }}
    group by users.user_id
),

ranked as (
    select
        row_number() over (order by plays, user_id) as place,
        sum(plays) over (
            order by plays, user_id rows between unbounded preceding and current row
        ) as plays_so_far,
        plays
    from listeners
),

totals as (
    select
        count(*) as listeners,
        cast(sum(plays) as bigint) as plays,
        cast(count(*) * sum(plays) as bigint) as possible,
        cast(sum((2 * place - 1) * plays) as bigint) as weighted
    from ranked
),

percents as (
    {{ numbers(0, 100) }}
),

points as (
    select distinct percents.number * totals.listeners / 100 as place
    from percents
    cross join totals
    where totals.listeners > 0
)

select
    {{ ratio("points.place", "totals.listeners") }} as listeners_share,
    {{ ratio("coalesce(ranked.plays_so_far, 0)", "totals.plays") }} as plays_share,
    {{ ratio("totals.weighted - totals.possible", "totals.possible") }} as gini,
    totals.listeners,
    totals.plays
from points
cross join totals
left join ranked on points.place = ranked.place
order by points.place

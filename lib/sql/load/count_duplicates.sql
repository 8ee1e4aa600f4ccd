-- How many moments several plays share.
select count(*) as moments from shared_moments

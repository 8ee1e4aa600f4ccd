-- Grain: one app event.
select
    trim(both ' ' from artist) as artist_name,
    trim(both ' ' from song) as song_title,
    cast(floor(length * 1e5 + 0.5) as bigint) as exact_length,
    ts,
    epoch_ms(ts) as start_time,
    page,
    level,
    coalesce(trim(both ' ' from userId), '') as user_id,
    firstName as first_name,
    lastName as last_name,
    gender,
    sessionId as session_id,
    itemInSession as item_in_session,
    location,
    userAgent as user_agent
from read_json(
    '{{ var("events") }}',
    format = 'newline_delimited',
    columns = {
        'artist': 'varchar',
        'song': 'varchar',
        'length': 'double',
        'ts': 'bigint',
        'page': 'varchar',
        'level': 'varchar',
        'userId': 'varchar',
        'firstName': 'varchar',
        'lastName': 'varchar',
        'gender': 'varchar',
        'sessionId': 'bigint',
        'itemInSession': 'integer',
        'location': 'varchar',
        'userAgent': 'varchar'
    }
)

-- Who only asks; without a password, so that only AWS lets it in, for minutes.
create user {{ reader }} password disable

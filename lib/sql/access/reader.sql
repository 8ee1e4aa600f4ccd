-- The user that queries run as. It has no password: AWS gives out a temporary one.
create user {{ reader }} password disable

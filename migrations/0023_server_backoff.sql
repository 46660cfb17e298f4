-- How many looks at a server in a row have failed: the more, the rarer it is looked at.
alter table server_health add column failures integer not null default 0;

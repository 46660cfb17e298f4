-- Whether what is personal in records goes along.
alter table destinations add column personal boolean not null default false;
-- When the last record before `next` reached the log: those that follow stand in partitions around it.
alter table destination_lanes add column near timestamptz;

-- A fence names one holding of one lane for ever, also where a lane is ended and another begun in its place. It begins above
-- all that lanes have counted by themselves.
create sequence destination_fences start with 1099511627776;
grant usage on sequence destination_fences to sluice_platform;
-- Records put aside with nothing taken between them.
alter table destination_lanes add column refused integer not null default 0;
-- Records that the log no longer had when they were to be sent, and when that was last found.
alter table destination_lanes add column lost bigint not null default 0;
alter table destination_lanes add column lost_at timestamptz;

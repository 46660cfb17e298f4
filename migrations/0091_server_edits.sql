-- Who last changed a server and when, to be told to whoever was changing it at the same time.
alter table servers add column changed_by uuid, add column changed_at timestamptz;

-- Who issued an API token, so that whoever looks at a list of them can tell.
-- None: issued before this was kept.
alter table api_tokens add column issued_by uuid;

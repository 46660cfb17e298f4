-- What a look found of how a server is spoken to. None: found by a program or a node that did not ask.
alter table server_versions
    -- The protocol versions it answered in, one of each era.
    add column speaks text[],
    -- ServerCapabilities, JSON as the server gave it.
    add column capabilities text,
    add column transport text constraint server_versions_transport_check check (transport in ('streamable_http', 'sse')),
    -- Sentences of ours.
    add column findings text[] not null default '{}';

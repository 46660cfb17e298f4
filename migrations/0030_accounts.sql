-- Accounts: how a person signs in to the console. Global: a person is one person in every tenant.

-- Argon2id, as a PHC string. Who has none signs up, or asks for a new one, through a link in a mail.
create table passwords (
    user_id uuid not null constraint passwords_pkey primary key
        constraint passwords_user_id_fkey references users (user_id),
    phc text not null,
    changed_at timestamptz not null
);
alter table passwords enable row level security;
alter table passwords force row level security;
create policy passwords_platform on passwords to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update on passwords to sluice_platform;

-- A browser that is signed in. The cookie's value was given once; here is its SHA-256.
create table login_sessions (
    session_id uuid not null constraint login_sessions_pkey primary key,
    digest bytea not null constraint login_sessions_digest_key unique
        constraint login_sessions_digest_check check (length(digest) = 32),
    user_id uuid not null constraint login_sessions_user_id_fkey references users (user_id),
    created_at timestamptz not null,
    seen_at timestamptz not null,
    -- Until when, whatever is done with it.
    ends_at timestamptz not null,
    -- For the person's own eyes: which browser, from where.
    agent text not null constraint login_sessions_agent_check check (length(agent) <= 200),
    address text not null
);
create index login_sessions_user_id_idx on login_sessions (user_id);
create index login_sessions_ends_at_idx on login_sessions (ends_at);
alter table login_sessions enable row level security;
alter table login_sessions force row level security;
create policy login_sessions_platform on login_sessions to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update, delete on login_sessions to sluice_platform;

-- What a link in a mail is good for: once, and not for long. The link's token is known by its SHA-256.
create table mail_links (
    digest bytea not null constraint mail_links_pkey primary key
        constraint mail_links_digest_check check (length(digest) = 32),
    purpose text not null constraint mail_links_purpose_check check (purpose in ('sign_up', 'reset', 'change_email')),
    -- The address the mail went to.
    email text not null constraint mail_links_email_check check (email = lower(email)),
    -- Whose address it is to become.
    user_id uuid constraint mail_links_user_id_fkey references users (user_id),
    created_at timestamptz not null,
    ends_at timestamptz not null,
    constraint mail_links_user_check check ((purpose = 'change_email') = (user_id is not null))
);
create index mail_links_email_idx on mail_links (email);
create index mail_links_ends_at_idx on mail_links (ends_at);
alter table mail_links enable row level security;
alter table mail_links force row level security;
create policy mail_links_platform on mail_links to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update, delete on mail_links to sluice_platform;

-- What was tried: at an account, from an address, each known by a digest. Old rows are of no use and are deleted.
create table attempts (
    attempt_id bigint generated always as identity constraint attempts_pkey primary key,
    subject bytea not null constraint attempts_subject_check check (length(subject) = 32),
    at timestamptz not null
);
create index attempts_subject_idx on attempts (subject, at);
create index attempts_at_idx on attempts (at);
alter table attempts enable row level security;
alter table attempts force row level security;
create policy attempts_platform on attempts to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update, delete on attempts to sluice_platform;

-- A person may take another e-mail address.
grant update (email) on users to sluice_platform;

-- A person's workspaces are listed by name, before any of them is entered.
create policy tenant_settings_platform on tenant_settings for select to sluice_platform
    using (current_user = 'sluice_platform');
grant select (tenant_id, title) on tenant_settings to sluice_platform;

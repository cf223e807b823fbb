-- How an account posts, beside who it is: `socials` of the media documents (M-031, M-032) is a view of the
-- accounts that it was said of.

set local search_path = fermata, pg_temp;

alter table platform_account
    add column social_id         int4        unique,      -- null until it was said how it posts
    add column created_at        timestamptz not null default now(),
    -- The name of a secret, never one (C-22).
    add column credential_ref    text,
    add column default_caption   text,
    add column default_tags      text[]      not null default '{}',
    add column privacy           text,
    add column rate_limit_window interval    check (rate_limit_window > interval '0');

-- Not a default: an insert that finds the account there would take a number each time.
create sequence socials_id as int4 owned by platform_account.social_id;

create view socials with (security_invoker = true) as
    select p.social_id as id, p.platform as provider, p.account_id, p.credential_ref, p.default_caption, p.default_tags,
        p.privacy, p.rate_limit_window, p.created_at, p.client_id
    from fermata.platform_account p where p.social_id is not null;
grant select on socials to fermata_reader, fermata_writer;
grant usage on sequence socials_id to fermata_writer;

-- Keeps how an account posts, with its event and its audit row, unless it is so. The row has only the names of what is set.
create function configure_account(client text, platform_ text, account text, told jsonb, who text)
returns setof platform_account language plpgsql as $$
declare
    at     timestamptz := clock_timestamp();
    before fermata.platform_account;
    now_is fermata.platform_account;
    named  jsonb;
begin
    insert into fermata.platform_account (client_id, platform, account_id) values (client, platform_, account)
        on conflict do nothing;
    select * into before from fermata.platform_account p
        where p.client_id = client and p.platform = platform_ and p.account_id = account for no key update;
    update fermata.platform_account p set social_id = coalesce(p.social_id, nextval('fermata.socials_id')),
        credential_ref = told ->> 'credential_ref',
        default_caption = told ->> 'default_caption',
        default_tags = array(select t from jsonb_array_elements_text(told -> 'default_tags') t),
        privacy = told ->> 'privacy', rate_limit_window = (told ->> 'rate_limit_window_s')::int8 * interval '1 s'
        where p.client_id = client and p.platform = platform_ and p.account_id = account returning * into now_is;
    if now_is is not distinct from before then
        return next now_is;
        return;
    end if;
    named := jsonb_build_object('client_id', client, 'platform', platform_, 'account_id', account, 'actor', who,
        'settings', told);
    perform fermata.append(at, array[client], array[null::uuid], array['account.configured'], array[1::int2], array[named],
        jsonb_build_array(jsonb_build_object('client_id', client, 'actor', who, 'phase', 'account_configured',
            'body', named || jsonb_build_object('settings', (select coalesce(jsonb_agg(k order by k), '[]')
                from jsonb_object_keys(told) k where told -> k not in ('null', '[]'))))));
    return next now_is;
end $$;

revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;

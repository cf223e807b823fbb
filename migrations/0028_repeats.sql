-- Texts that accounts have posted, as hashes only (Q-24): what a policy's `compliance.repeated_text` compares with.

set local search_path = fermata, pg_temp;

-- One row for each text of an attempt whose verdict names texts; there are none where no policy asks for them.
create table posted_text (
    client_id  text        not null,
    platform   text        not null,
    account_id text        not null,
    hash       bytea       not null check (octet_length(hash) = 32),
    action_id  uuid        not null,
    intent_id  uuid        not null,
    at         timestamptz not null,
    primary key (client_id, platform, account_id, hash, action_id)
);

-- Keeps the texts of an attempt, and forgets them when it is certain that nothing was done. One that found its effect
-- done has a receipt: the text is there, whoever posted it.
create function keep_texts() returns trigger language plpgsql as $$
begin
    if new.state = 'attempted' then
        insert into fermata.posted_text (client_id, platform, account_id, hash, action_id, intent_id, at)
            select new.client_id, new.platform, new.account_id, decode(t.hash, 'hex'), new.id, new.intent_id, new.updated_at
                from jsonb_array_elements_text(new.verdict -> 'texts') t(hash)
            on conflict do nothing;
    elsif new.effect is false and new.receipt is null then
        delete from fermata.posted_text p using jsonb_array_elements_text(new.verdict -> 'texts') t(hash)
            where p.client_id = new.client_id and p.platform = new.platform and p.account_id = new.account_id
                and p.hash = decode(t.hash, 'hex') and p.action_id = new.id;
    end if;
    return null;
end $$;
create trigger keep_texts after update of state on action for each row
    when (old.state is distinct from new.state and new.verdict ? 'texts' and new.state in ('attempted', 'confirmed_failed',
          'postcheck_complete'))
    execute function keep_texts();

grant select, insert, delete on posted_text to fermata_writer;
revoke execute on all functions in schema fermata from public;
grant execute on all functions in schema fermata to fermata_writer;

set local search_path to default;

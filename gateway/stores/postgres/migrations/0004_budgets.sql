-- Budgets, counted for all gateways: one row a budget and period. Amounts are nano-dollars, times Unix nanoseconds. The
-- limits are in the configurations and with the keys; a gateway brings them with each request.
-- holder: JSON, ["key","alice"], ["team","growth"], or ["key","alice","gpt-4o*"] for some models of a key.
-- held: what of reserved belongs to requests of unknown outcome. seeded: whether charged has what the books had before
-- the row was there. epoch: how often it began with the books; who has begun before another does not end it.

CREATE TABLE budgets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('day', 'week', 'month', 'total')),
    start_ns bigint NOT NULL,
    end_ns bigint,
    charged bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    seeded boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (holder, kind, start_ns)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What one exchange has reserved, and on which budgets, while it runs or is of unknown outcome. at_ns: its intent's.
-- until_ns: until when what it reserved is kept at most, once it has ended; while it runs, it is kept. charged: what of
-- its charge the budgets have counted. No row for what counts on no budget.
CREATE TABLE reservations (
    id text COLLATE "C" PRIMARY KEY,
    at_ns bigint NOT NULL,
    until_ns bigint NOT NULL,
    gateway text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    charged bigint NOT NULL DEFAULT 0,
    held boolean NOT NULL DEFAULT false,
    budgets bigint[] NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX reservations_held ON reservations (until_ns) WHERE held AND amount > 0;

-- Rows of budgets are locked in the order of their ids, by one statement of a transaction, before anything else of them
-- is touched: so transactions wait for one another in one direction. What changes a reservation has locked its budgets.
-- Beside that, all that counts shares one lock, which beginning a budget with the books takes alone, for a moment.
CREATE FUNCTION budgets_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 482535433060 $$;

-- Reserve for exchanges, in their order, and say which are refused. An exchange's claims are the elements of c_… whose
-- c_of is its place in p_ids, from 1; they come in that order. p_amount: null if its price is not known: then nothing is
-- reserved, and anything must be left.
-- Its setting: what is joined is the batch's own, of which the server cannot know how much it is.
-- Returns a row for each that is refused: the claim that was in the way, with what others used and hold of it; these are
-- null where that budget is not counted yet.
CREATE FUNCTION admit_claims(
    p_gateway text, p_keep_ns bigint, p_ids text[], p_at bigint[], p_amount bigint[],
    c_of integer[], c_holder text[], c_kind text[], c_start bigint[], c_limit bigint[]
) RETURNS TABLE (n integer, short integer, charged bigint, reserved bigint, held bigint)
LANGUAGE plpgsql SET enable_nestloop = off AS $$
#variable_conflict use_variable
DECLARE
    -- b_…: the rows that are locked; m_…: which claim counts on which of them; known_…: what is reserved already;
    -- r_…: what is to be reserved. short_…: the claim and the row in the way.
    b_id bigint[]; b_holder text[]; b_kind text[]; b_start bigint[]; b_end bigint[]; b_seeded boolean[];
    b_charged bigint[]; b_reserved bigint[]; b_held bigint[]; b_before bigint[];
    m_of integer[]; m_claim integer[]; m_row integer[]; m_own boolean[]; m_count integer;
    known_ids text[];
    r_id text[] := '{}'; r_at bigint[] := '{}'; r_amount bigint[] := '{}'; r_budgets text[] := '{}';
    v_first integer := 1; v_match integer; v_claim integer; v_needs boolean; v_missing integer; v_row integer;
    v_room bigint; v_used bigint; v_passing boolean; v_amount bigint; v_rows bigint[]; v_ample boolean;
    short_claim integer; short_row integer; short_passing boolean;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(budgets_lock());
    SELECT array_agg(b.id), array_agg(b.holder), array_agg(b.kind), array_agg(b.start_ns), array_agg(b.end_ns),
           array_agg(b.seeded), array_agg(b.charged), array_agg(b.reserved), array_agg(b.held)
    INTO b_id, b_holder, b_kind, b_start, b_end, b_seeded, b_charged, b_reserved, b_held
    FROM (
        SELECT * FROM budgets AS one
        WHERE one.holder = ANY (c_holder)
        AND one.start_ns <= (SELECT max(moment) FROM unnest(p_at) AS moment)
        AND (one.end_ns IS NULL OR one.end_ns > (SELECT min(moment) FROM unnest(p_at) AS moment))
        ORDER BY one.id FOR UPDATE
    ) AS b;
    b_before := b_reserved;
    SELECT array_agg(r.id) INTO known_ids FROM reservations AS r WHERE r.id = ANY (p_ids);

    -- Nearly always there is room for all that they ask for, and nothing is to be decided one by one.
    IF known_ids IS NULL THEN
        SELECT coalesce(sum(f.own), 0) = cardinality(array_remove(c_limit, null))
               AND coalesce(bool_and(f.used + f.asked < f.room), true)
        INTO v_ample
        FROM (
            SELECT coalesce(sum(e.amount), 0) AS asked, min(b.charged + b.reserved) AS used,
                   min(c.room) FILTER (WHERE b.kind = c.kind AND b.start_ns = c.start_ns AND b.seeded) AS room,
                   count(c.room) FILTER (WHERE b.kind = c.kind AND b.start_ns = c.start_ns AND b.seeded) AS own
            FROM unnest(c_of, c_holder, c_kind, c_start, c_limit) AS c (exchange, holder, kind, start_ns, room)
            JOIN unnest(p_at, p_amount) WITH ORDINALITY AS e (at_ns, amount, exchange) ON e.exchange = c.exchange
            JOIN unnest(b_id, b_holder, b_kind, b_start, b_end, b_seeded, b_charged, b_reserved)
                AS b (id, holder, kind, start_ns, end_ns, seeded, charged, reserved)
            ON b.holder = c.holder AND b.start_ns <= e.at_ns AND (b.end_ns IS NULL OR e.at_ns < b.end_ns)
            GROUP BY b.id
        ) AS f;
        IF v_ample THEN
            WITH counted AS MATERIALIZED (
                SELECT e.id AS exchange, e.at_ns, coalesce(e.amount, 0) AS amount, b.id
                FROM unnest(c_of, c_holder) AS c (exchange, holder)
                JOIN unnest(p_ids, p_at, p_amount) WITH ORDINALITY AS e (id, at_ns, amount, exchange)
                ON e.exchange = c.exchange
                JOIN unnest(b_id, b_holder, b_start, b_end) AS b (id, holder, start_ns, end_ns)
                ON b.holder = c.holder AND b.start_ns <= e.at_ns AND (b.end_ns IS NULL OR e.at_ns < b.end_ns)
            ), kept AS (
                INSERT INTO reservations (id, at_ns, until_ns, gateway, amount, budgets)
                SELECT a.exchange, a.at_ns, a.at_ns + p_keep_ns, p_gateway, a.amount, array_agg(a.id ORDER BY a.id)
                FROM counted AS a GROUP BY a.exchange, a.at_ns, a.amount
            )
            UPDATE budgets AS b SET reserved = b.reserved + s.asked, changed_at = clock_timestamp()
            FROM (SELECT a.id, sum(a.amount) AS asked FROM counted AS a GROUP BY a.id) AS s
            WHERE b.id = s.id AND b.id = ANY (b_id) AND s.asked > 0;
            RETURN;
        END IF;
    END IF;
    SELECT array_agg(c.exchange ORDER BY c.claim, b.place), array_agg(c.claim::integer ORDER BY c.claim, b.place),
           array_agg(b.place::integer ORDER BY c.claim, b.place),
           array_agg(coalesce(b.kind = c.kind AND b.start_ns = c.start_ns AND b.seeded, false) ORDER BY c.claim, b.place)
    INTO m_of, m_claim, m_row, m_own
    FROM unnest(c_of, c_holder, c_kind, c_start) WITH ORDINALITY AS c (exchange, holder, kind, start_ns, claim)
    LEFT JOIN unnest(b_holder, b_kind, b_start, b_end, b_seeded) WITH ORDINALITY
        AS b (holder, kind, start_ns, end_ns, seeded, place)
    ON b.holder = c.holder AND b.start_ns <= p_at[c.exchange] AND (b.end_ns IS NULL OR p_at[c.exchange] < b.end_ns);
    m_count := coalesce(cardinality(m_of), 0);

    FOR exchange IN 1 .. cardinality(p_ids) LOOP
        v_claim := 0; v_needs := false; v_missing := 0; v_rows := '{}';
        v_amount := p_amount[exchange];
        short_claim := 0; short_passing := false;
        v_match := v_first;
        WHILE v_match <= m_count AND m_of[v_match] = exchange LOOP
            IF m_claim[v_match] <> v_claim THEN
                IF v_needs THEN v_missing := v_claim; END IF;
                v_claim := m_claim[v_match];
                v_needs := c_limit[v_claim] IS NOT NULL;
            END IF;
            v_row := m_row[v_match];
            IF v_row IS NOT NULL THEN
                v_rows := v_rows || b_id[v_row];
                IF v_needs AND m_own[v_match] THEN
                    v_needs := false;
                    v_room := c_limit[v_claim];
                    v_used := b_charged[v_row] + b_reserved[v_row];
                    -- of several budgets that have no room, one where waiting does not help is told of
                    IF (v_amount IS NULL AND v_used >= v_room) OR (v_amount > 0 AND v_used + v_amount > v_room) THEN
                        v_passing := b_charged[v_row] + b_held[v_row] + coalesce(v_amount, 1) <= v_room;
                        IF short_claim = 0 OR (short_passing AND NOT v_passing) THEN
                            short_claim := v_claim; short_row := v_row; short_passing := v_passing;
                        END IF;
                    END IF;
                END IF;
            END IF;
            v_match := v_match + 1;
        END LOOP;
        IF v_needs THEN v_missing := v_claim; END IF;

        n := exchange; short := null; charged := null; reserved := null; held := null;
        IF p_ids[exchange] = ANY (known_ids) THEN
            NULL;  -- its batch was written before, though its writer did not learn of it
        ELSIF v_missing > 0 THEN
            short := v_missing;
            RETURN NEXT;
        ELSIF short_claim > 0 THEN
            short := short_claim;
            charged := b_charged[short_row]; reserved := b_reserved[short_row]; held := b_held[short_row];
            RETURN NEXT;
        ELSE
            v_amount := coalesce(v_amount, 0);
            IF cardinality(v_rows) > 0 THEN
                FOR place IN v_first .. v_match - 1 LOOP
                    v_row := m_row[place];
                    IF v_row IS NOT NULL THEN b_reserved[v_row] := b_reserved[v_row] + v_amount; END IF;
                END LOOP;
                r_id := r_id || p_ids[exchange]; r_at := r_at || p_at[exchange]; r_amount := r_amount || v_amount;
                r_budgets := r_budgets || v_rows::text;
            END IF;
        END IF;
        v_first := v_match;
    END LOOP;

    UPDATE budgets AS b SET reserved = x.reserved, changed_at = clock_timestamp()
    FROM unnest(b_id, b_reserved, b_before) AS x (id, reserved, before)
    WHERE b.id = x.id AND x.reserved <> x.before;
    INSERT INTO reservations (id, at_ns, until_ns, gateway, amount, budgets)
    SELECT x.id, x.at_ns, x.at_ns + p_keep_ns, p_gateway, x.amount, x.budgets::bigint[]
    FROM unnest(r_id, r_at, r_amount, r_budgets) AS x (id, at_ns, amount, budgets);
END $$;

-- Raise what an exchange that runs has reserved to p_amount in all, if its budgets have room for that. The claims are
-- those it was admitted with. Returns nothing, or the claim that was in the way, with what others used and hold of it;
-- these are null where its budget is not counted for it.
CREATE FUNCTION raise_claims(
    p_id text, p_amount bigint, c_holder text[], c_kind text[], c_start bigint[], c_limit bigint[]
) RETURNS TABLE (short integer, charged bigint, reserved bigint, held bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_budgets bigint[]; v_amount bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(budgets_lock());
    PERFORM 1 FROM budgets AS b
    WHERE b.id = ANY (ARRAY(SELECT unnest(r.budgets) FROM reservations AS r WHERE r.id = p_id))
    ORDER BY b.id FOR UPDATE;
    SELECT r.budgets, r.amount INTO v_budgets, v_amount FROM reservations AS r WHERE r.id = p_id AND NOT r.held;
    RETURN QUERY
        SELECT c.claim::integer, b.charged, b.reserved - v_amount, b.held
        FROM unnest(c_holder, c_kind, c_start, c_limit) WITH ORDINALITY AS c (holder, kind, start_ns, room, claim)
        LEFT JOIN budgets AS b
        ON b.holder = c.holder AND b.kind = c.kind AND b.start_ns = c.start_ns AND b.id = ANY (v_budgets)
        WHERE c.room IS NOT NULL AND (b.id IS NULL OR b.charged + b.reserved - v_amount + p_amount > c.room)
        AND coalesce(p_amount > v_amount, true)
        ORDER BY b.charged + b.held + p_amount <= c.room, c.claim LIMIT 1;
    IF NOT FOUND AND p_amount > v_amount THEN
        UPDATE budgets AS b SET reserved = b.reserved + p_amount - v_amount, changed_at = clock_timestamp()
        WHERE b.id = ANY (v_budgets);
        UPDATE reservations AS r SET amount = p_amount WHERE r.id = p_id;
    END IF;
END $$;

-- Charge what the books have, by now, for exchanges, and free what they had reserved; what is in doubt stays reserved.
-- d_…: what is in doubt of those of which it is known; of others whose outcome is unknown, all that was reserved is.
-- A second call for the same state of the books changes nothing.
-- Its settings: rows are looked up one by one by their key, however large or unmeasured the tables.
CREATE FUNCTION settle_claims(p_ids text[], d_ids text[], d_amounts bigint[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(budgets_lock());
    PERFORM 1 FROM budgets AS b
    WHERE b.id = ANY (ARRAY(SELECT DISTINCT unnest(r.budgets) FROM reservations AS r WHERE r.id = ANY (p_ids)))
    ORDER BY b.id FOR UPDATE;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM reservations AS r WHERE r.id = ANY (p_ids)) THEN
        RETURN;
    END IF;
    WITH ended AS MATERIALIZED (
        SELECT
            r.id, r.amount, r.charged AS counted, r.held, r.budgets, coalesce(c.charged, s.charged) AS charged,
            c.id IS NULL AND s.state = 'unknown' AS unknown,
            CASE
                WHEN c.id IS NOT NULL THEN 0
                WHEN r.held THEN r.amount
                WHEN s.state = 'unknown' THEN least(coalesce(d.amount, r.amount), r.amount)
                WHEN s.state = 'settled' AND d.amount > 0 THEN least(d.amount, greatest(0, r.amount - s.charged))
                ELSE 0
            END AS rest
        FROM reservations AS r
        JOIN settlements AS s ON s.id = r.id AND s.intent_ns = r.at_ns
        LEFT JOIN corrections AS c ON c.id = r.id
        LEFT JOIN unnest(d_ids, d_amounts) AS d (id, amount) ON d.id = r.id
        WHERE r.id = ANY (p_ids)
    ), gone AS (
        DELETE FROM reservations AS r USING ended AS e WHERE r.id = e.id AND NOT e.unknown AND e.rest = 0
    ), kept AS (
        UPDATE reservations AS r SET amount = e.rest, charged = e.charged, held = true
        FROM ended AS e WHERE r.id = e.id AND (e.unknown OR e.rest > 0)
    ), changes AS (
        SELECT
            budget, sum(e.charged - e.counted) AS charged, sum(e.rest - e.amount) AS reserved,
            sum(e.rest - CASE WHEN e.held THEN e.amount ELSE 0 END) AS held
        FROM ended AS e CROSS JOIN unnest(e.budgets) AS budget GROUP BY budget
    )
    UPDATE budgets AS b SET
        charged = b.charged + x.charged, reserved = b.reserved + x.reserved, held = b.held + x.held,
        changed_at = clock_timestamp()
    FROM changes AS x WHERE b.id = x.budget AND (x.charged <> 0 OR x.reserved <> 0 OR x.held <> 0);
END $$;

-- Give back what is held longer than it may be, and forget the periods that ended before p_forget.
-- A reservation whose outcome is still unknown stays, with nothing, so that a correction is counted.
CREATE FUNCTION give_back_claims(p_now bigint, p_forget bigint)
RETURNS TABLE (id text, amount bigint, holders text[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    due text[] := ARRAY(SELECT r.id FROM reservations AS r WHERE r.held AND r.until_ns <= p_now AND r.amount > 0);
BEGIN
    PERFORM pg_advisory_xact_lock_shared(budgets_lock());
    PERFORM 1 FROM budgets AS b
    WHERE b.id = ANY (ARRAY(SELECT DISTINCT unnest(r.budgets) FROM reservations AS r WHERE r.id = ANY (due)))
    OR (b.end_ns < p_forget AND b.reserved = 0)
    ORDER BY b.id FOR UPDATE;
    RETURN QUERY
    WITH over AS MATERIALIZED (
        SELECT r.id, r.amount, r.budgets, s.state = 'unknown' AS unknown
        FROM reservations AS r JOIN settlements AS s ON s.id = r.id AND s.intent_ns = r.at_ns
        WHERE r.id = ANY (due) AND r.held AND r.until_ns <= p_now AND r.amount > 0
    ), emptied AS (
        UPDATE reservations AS r SET amount = 0 FROM over AS o WHERE r.id = o.id AND o.unknown
    ), gone AS (
        DELETE FROM reservations AS r USING over AS o WHERE r.id = o.id AND NOT o.unknown
    ), changes AS (
        SELECT budget, sum(o.amount) AS amount FROM over AS o CROSS JOIN unnest(o.budgets) AS budget GROUP BY budget
    ), freed AS (
        UPDATE budgets AS b SET
            reserved = b.reserved - x.amount, held = b.held - x.amount, changed_at = clock_timestamp()
        FROM changes AS x WHERE b.id = x.budget
    )
    SELECT o.id, o.amount, ARRAY(SELECT b.holder FROM budgets AS b WHERE b.id = ANY (o.budgets) ORDER BY b.id)
    FROM over AS o ORDER BY o.id;
    DELETE FROM budgets AS b WHERE b.end_ns < p_forget AND b.reserved = 0;
    DELETE FROM reservations AS r WHERE r.held AND r.amount = 0 AND r.until_ns < p_forget
    AND NOT EXISTS (SELECT FROM budgets AS b WHERE b.id = ANY (r.budgets));
END $$;

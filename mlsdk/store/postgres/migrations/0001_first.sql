-- Logs: the truth. Raw bytes in chunks, or one sealed file.
CREATE TABLE logs (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    log text COLLATE "C" PRIMARY KEY,
    size bigint NOT NULL DEFAULT 0,
    -- Raw bytes that the catalog has looked at; of a shared log more than it can ever have.
    looked bigint NOT NULL DEFAULT 0,
    looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- New, or just closed: the catalog takes it in before the others.
    urgent boolean NOT NULL DEFAULT true,
    -- From here on there are so many chunks that are too small to stay so.
    small_from bigint NOT NULL DEFAULT 0,
    small integer NOT NULL DEFAULT 0,
    sealed bytea
);
ALTER TABLE logs ALTER sealed SET STORAGE EXTERNAL;
CREATE INDEX logs_behind ON logs (urgent, looked_at) WHERE size > looked;

CREATE TABLE chunks (
    id bigint NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
    start bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (id, start)
) WITH (toast_tuple_target = 8160);
-- A chunk fills a page of the table itself: beside it, cut into pieces of 2 KB, writing takes twice as long.
ALTER TABLE chunks ALTER data SET STORAGE EXTERNAL;

-- Blobs: bytes by their SHA-256, in pieces.
CREATE TABLE blobs (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    digest text COLLATE "C" PRIMARY KEY,
    size bigint NOT NULL,
    put_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE blob_pieces (
    id bigint NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    number integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (id, number)
);
ALTER TABLE blob_pieces ALTER data SET STORAGE EXTERNAL;

-- Catalog: a view of the logs. Indexes hold what is walked over, so that no wide row is read for it.
CREATE TABLE runs (
    run bigint GENERATED ALWAYS AS IDENTITY,
    id text COLLATE "C" NOT NULL,
    deleted boolean NOT NULL,
    live boolean NOT NULL,
    parent text COLLATE "C",
    status text,
    ended_ns bigint,
    newer text,
    document text,
    state bytea NOT NULL,
    life text NOT NULL,
    keys integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (run) INCLUDE (id, deleted),
    UNIQUE (id) INCLUDE (run, deleted)
);
ALTER TABLE runs ALTER state SET STORAGE EXTERNAL;
CREATE INDEX runs_end ON runs ((reverse(id)) COLLATE "C");
CREATE INDEX runs_live ON runs (run) WHERE live;
CREATE INDEX runs_newer ON runs (run) WHERE newer IS NOT NULL;
CREATE INDEX runs_parent ON runs USING hash (parent) WHERE parent IS NOT NULL;

CREATE TABLE states (
    log text COLLATE "C" PRIMARY KEY,
    run bigint NOT NULL REFERENCES runs (run) ON DELETE CASCADE,
    state bytea NOT NULL
);
ALTER TABLE states ALTER state SET STORAGE EXTERNAL;
CREATE INDEX states_run ON states (run);

-- Names of fields. They may be longer than an index takes.
CREATE TABLE keys (
    key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL
);

-- Values of fields, so that the order of bytes is the order of values; of long text the beginning, and the rest beside.
CREATE TABLE vals (
    key integer NOT NULL,
    run bigint NOT NULL,
    value bytea NOT NULL,
    rest bytea,
    PRIMARY KEY (key, run) INCLUDE (value)
);
CREATE INDEX vals_value ON vals (key, value, run);
CREATE INDEX vals_long ON vals (key) WHERE rest IS NOT NULL;
CREATE VIEW whole AS SELECT key, run, value, value || coalesce(rest, ''::bytea) AS whole FROM vals;

CREATE TABLE metrics (
    key integer NOT NULL,
    run bigint NOT NULL,
    min bytea,
    max bytea,
    mean bytea,
    count bytea,
    min_step bytea,
    max_step bytea,
    PRIMARY KEY (key, run)
);

//! Every configuration key there is, as data.
//!
//! The JSON Schema, `.env.example`, parsing, defaults, and the report all read this table.
//! To add a key: one entry here, one field in [`Config`](super::Config), one line in its `read`;
//! then `FERMATA_UPDATE=1 cargo test -p fermata-api config` writes the two generated files anew.

use super::Role;

/// What a value must look like. Each kind knows its JSON Schema (`schema.rs`) and its parser (`value.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An absolute URL with one of these schemes.
    Url {
        /// Accepted schemes, the usual one first.
        schemes: &'static [&'static str],
    },
    /// A whole number within bounds, both included.
    Integer {
        /// Smallest accepted value.
        min: u32,
        /// Largest accepted value.
        max: u32,
    },
    /// A whole number of seconds within bounds, both included.
    Seconds {
        /// Shortest accepted duration.
        min: u32,
        /// Longest accepted duration.
        max: u32,
    },
    /// `true` or `false` (`1` and `0` are read too).
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A comma-separated list of these words, each at most once.
    Choices(&'static [&'static str]),
    /// An IP address and a port; port 0 lets the system choose.
    SocketAddress,
    /// A path, relative to the working folder unless absolute.
    Path,
    /// Directives of `tracing_subscriber::EnvFilter`.
    LogFilter,
    /// A comma-separated list of [`HostPattern`](super::HostPattern)s.
    HostPatterns,
    /// A comma-separated list of web origins: scheme, host, and a port that is not the scheme's own.
    Origins,
    /// A comma-separated list of [`Site`](super::Site)s, each name at most once.
    Sites,
    /// A comma-separated list of `name=value`, the values percent-encoded where they must be.
    Headers,
    /// Any words.
    Text,
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the environment, the file, and the schema.
    pub name: &'static str,
    /// Other names under which it is read, when its own is not set in the same source.
    pub aliases: &'static [&'static str],
    /// What its value must look like.
    pub kind: Kind,
    /// Value when nothing sets it; `None` leaves it unset.
    pub default: Option<&'static str>,
    /// Value that replaces `default` under `fermata dev`.
    pub dev_default: Option<&'static str>,
    /// Shown in `.env.example` and in remedies when there is no default. Holds no real secret.
    pub example: Option<&'static str>,
    /// Roles that refuse to start without it.
    pub required_for: &'static [Role],
    /// Whether the value must never be shown or hashed.
    pub secret: bool,
    /// Unit of the number, for people.
    pub unit: Option<&'static str>,
    /// One sentence: what it does.
    pub doc: &'static str,
}

/// Keys that belong together, in the order of `.env.example`.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Heading.
    pub title: &'static str,
    /// Members.
    pub keys: &'static [Key],
}

impl Key {
    const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            kind,
            default: None,
            dev_default: None,
            example: None,
            required_for: &[],
            secret: false,
            unit: match kind {
                Kind::Seconds { .. } => Some("seconds"),
                _ => None,
            },
            doc,
        }
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn in_dev(mut self, value: &'static str) -> Self {
        self.dev_default = Some(value);
        self
    }

    const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }

    const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    const fn required_for(mut self, roles: &'static [Role]) -> Self {
        self.required_for = roles;
        self
    }

    const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Whether `name` means this key.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Default for these roles.
    pub fn default_for(&self, roles: &[Role]) -> Option<&'static str> {
        if roles.contains(&Role::Dev) { self.dev_default.or(self.default) } else { self.default }
    }
}

/// All keys, group by group.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys)
}

/// Variables of ours that configure nothing, so that nobody takes them for misspelt keys.
pub(super) static OTHER_VARIABLES: &[&str] = &[
    // Read by commands that talk to a running Fermata.
    "FERMATA_URL",
    "FERMATA_TOKEN",
    // Names the demo site's program for `fermata dev`.
    "FERMATA_DEMO_SITE_BIN",
    // Marks the browsers of a supervisor.
    "FERMATA_BROWSERS",
    // Read by tests and their scripts.
    "FERMATA_BIN",
    "FERMATA_RIGGED_BIN",
    "FERMATA_FAULT_PROXY_BIN",
    "FERMATA_TEST_DATABASE_URL",
    "FERMATA_TEST_OWNER_FOLDER",
    "FERMATA_TEST_OWNER_REPORT",
    "FERMATA_UPDATE",
];

/// The key that answers to `name`, if there is one.
pub fn key_named(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.answers_to(name))
}

const HTTP: Kind = Kind::Url { schemes: &["http", "https"] };

/// The schema of the whole program.
pub static GROUPS: &[Group] = &[
    Group {
        title: "Process",
        keys: &[
            Key::new("FERMATA_CONFIG", Kind::Path, "File of KEY=value lines, read before the environment.")
                .example("/etc/fermata/fermata.env"),
            Key::new("FERMATA_ROLES", Kind::Choices(Role::SERVED), "What `fermata serve` does in this process.")
                .default("api,worker,browser"),
            Key::new("FERMATA_DATA_DIR", Kind::Path, "Folder for what this node keeps on disk.").default(".fermata"),
            Key::new(
                "FERMATA_ARTIFACTS_DIR",
                Kind::Path,
                "Folder for artifacts, shared by all nodes; `artifacts` in the data folder when not set.",
            )
            .example("/var/lib/fermata/artifacts"),
            Key::new(
                "FERMATA_DRAIN_SECS",
                Kind::Seconds { min: 0, max: 3600 },
                "How long SIGTERM waits for what is in flight before it hands the rest back.",
            )
            .default("20"),
        ],
    },
    Group {
        title: "Database",
        keys: &[
            Key::new(
                "DATABASE_URL",
                Kind::Url { schemes: &["postgres", "postgresql"] },
                "The Postgres that holds everything; `fermata dev` starts a private one when not set.",
            )
            .aliases(&["DB_URL"])
            .example("postgres://fermata@127.0.0.1:5432/fermata")
            .required_for(&Role::ALL)
            .secret(),
            Key::new(
                "DATABASE_POOLER_URL",
                Kind::Url { schemes: &["postgres", "postgresql"] },
                "A pooler in transaction mode (PgBouncer) before the same database, for reads that answer requests.",
            )
            .example("postgres://fermata@127.0.0.1:6432/fermata")
            .secret(),
            Key::new(
                "DB_MAX_CONNECTIONS",
                Kind::Integer { min: 1, max: 1000 },
                "Largest size of this process's connection pool; the writer's connections are extra.",
            )
            .default("10")
            .unit("connections"),
            Key::new(
                "WRITER_CONNECTIONS",
                Kind::Integer { min: 1, max: 16 },
                "Connections of the group writer, through which every change is committed.",
            )
            .default("2")
            .unit("connections"),
            Key::new(
                "NEIGHBOURS",
                Kind::Bool,
                "Hand commands to a worker of the same user on this machine, which accepts and begins them in one commit.",
            )
            .default("true"),
            Key::new(
                "ALLOW_UNSAFE_DURABILITY",
                Kind::Bool,
                "Start although fsync, full_page_writes or synchronous_commit is off: an acknowledged commit may be lost.",
            )
            .default("false"),
        ],
    },
    Group {
        title: "API",
        keys: &[
            Key::new("LISTEN_CONTROL", Kind::SocketAddress, "Where REST, GraphQL and the operator app listen.")
                .default("127.0.0.1:7070"),
            Key::new("LISTEN_TELEMETRY", Kind::SocketAddress, "Where the event stream listens.")
                .default("127.0.0.1:7071"),
            Key::new(
                "PUBLIC_BASE_URL",
                HTTP,
                "How people and platforms reach the API, for links that leave it; LISTEN_CONTROL when not set.",
            )
            .example("https://fermata.example.com"),
            Key::new("MAX_BODY_BYTES", Kind::Integer { min: 1024, max: 67_108_864 }, "Largest accepted request body.")
                .default("1048576")
                .unit("bytes"),
            Key::new(
                "REQUEST_TIMEOUT_SECS",
                Kind::Seconds { min: 1, max: 600 },
                "How long a request may take before it is answered with a timeout.",
            )
            .default("30"),
            Key::new(
                "MAX_IN_FLIGHT",
                Kind::Integer { min: 1, max: 100_000 },
                "How many requests may be under way at once; one more is told to come again. /health is never turned away.",
            )
            .default("1024")
            .unit("requests"),
            Key::new(
                "RATE_LIMIT_PER_MINUTE",
                Kind::Integer { min: 0, max: 1_000_000 },
                "How many requests a minute one token may send to one process; 0 sets no limit.",
            )
            .default("0")
            .unit("requests"),
            Key::new(
                "RATE_LIMIT_BURST",
                Kind::Integer { min: 0, max: 1_000_000 },
                "How many of them may come at once; 0 is a whole minute's.",
            )
            .default("0")
            .unit("requests"),
            Key::new(
                "MAX_STREAMS",
                Kind::Integer { min: 1, max: 1_000_000 },
                "How many streams (WebSockets) this process holds at once; one more is told to come again.",
            )
            .default("10000")
            .unit("connections"),
            Key::new(
                "STREAM_HEARTBEAT_SECS",
                Kind::Seconds { min: 1, max: 600 },
                "How often a stream says that it is alive; after four without a sign of life the client is taken for gone.",
            )
            .default("15"),
            Key::new(
                "ALLOWED_ORIGINS",
                Kind::Origins,
                "Origins of web pages, besides our own, that may open a stream.",
            )
            .example("https://board.example.com"),
            Key::new(
                "PROBES_REQUIRE_AUTH",
                Kind::Bool,
                "Ask for a bearer token on /health, /ready and /metrics too.",
            )
            .default("false"),
            Key::new(
                "GRAPHQL_PERSISTED_ONLY",
                Kind::Bool,
                "Answer only the GraphQL documents that this program ships with; any other one is refused.",
            )
            .default("false"),
            Key::new("GRAPHIQL", Kind::Bool, "Serve GraphiQL at /graphiql.").default("false").in_dev("true"),
            Key::new(
                "DEFAULT_CLIENT",
                Kind::Text,
                "The client of a submission that names none, by a token of every client; refused when not set.",
            )
            .in_dev("demo"),
        ],
    },
    Group {
        title: "Worker",
        keys: &[
            Key::new(
                "WORKER_SLOTS",
                Kind::Integer { min: 1, max: 100_000 },
                "How many runs a worker has in flight at most; waiting runs take no slot.",
            )
            .default("1024")
            .unit("runs"),
            Key::new(
                "LEASE_SECS",
                Kind::Seconds { min: 2, max: 300 },
                "How long a run stays with a node that has gone silent.",
            )
            .default("10"),
            Key::new(
                "CALL_SKEW_SECS",
                Kind::Seconds { min: 0, max: 60 },
                "Margin after a call's deadline before the absence of its effect may be believed.",
            )
            .default("5"),
            Key::new(
                "SITES",
                Kind::Sites,
                "Addresses that flows name `${env.NAME}`; their hosts may be called. `serve --site NAME=URL` overrides one.",
            )
            .example("demo_site=http://127.0.0.1:7079,shop=https://shop.example.com"),
            Key::new(
                "CLASSIFIERS",
                Kind::Sites,
                "Programs that say which flags content has, by the names in `compliance.classifiers` of policies (docs/policies.md).",
            )
            .example("brand=http://127.0.0.1:9400/classify"),
            Key::new(
                "ALLOW_PRIVATE_HOSTS",
                Kind::HostPatterns,
                "Further hosts that flows may call: names and *.suffixes as written in an address, addresses, networks.",
            )
            .in_dev("localhost,127.0.0.0/8,::1")
            .example("*.internal.example.com,10.1.0.0/16"),
        ],
    },
    Group {
        title: "Audit",
        keys: &[
            Key::new(
                "AUDIT_KEY_FILE",
                Kind::Path,
                "The Ed25519 key (PEM) that signs the ends of audit chains; made as `audit-key.pem` in the data folder when not set.",
            )
            .example("/etc/fermata/audit-key.pem"),
            Key::new(
                "AUDIT_HEADS_FILE",
                Kind::Path,
                "Where signed ends are appended, a line each; `audit-heads.ndjson` in the data folder when not set. Keep it where the database's administrators cannot write.",
            )
            .example("/var/log/fermata/audit-heads.ndjson"),
            Key::new("AUDIT_HEADS_URL", HTTP, "Where signed ends are also posted, as `{\"heads\": [...]}`.")
                .example("https://notary.example.com/heads")
                .secret(),
        ],
    },
    Group {
        title: "Browser",
        keys: &[
            Key::new(
                "FERMATA_WEBDRIVER_URL",
                HTTP,
                "A WebDriver endpoint to use; when not set, the browser role starts an installed driver.",
            )
            .example("http://127.0.0.1:4444")
            .secret(),
            Key::new(
                "MAX_SESSIONS",
                Kind::Integer { min: 1, max: 64 },
                "How many browser sessions one machine holds at once.",
            )
            .aliases(&["BROWSER_SESSIONS"])
            .default("4")
            .unit("sessions"),
        ],
    },
    Group {
        title: "Services",
        keys: &[
            Key::new(
                "INTERNAL_KEY",
                Kind::Text,
                "The secret that services of one installation show each other in X-INTERNAL-KEY; nobody has it when not set.",
            )
            .example("a-long-random-text")
            .required_for(&[Role::Logging, Role::Echo])
            .secret(),
            Key::new("LISTEN_LOGGING", Kind::SocketAddress, "Where the logging role listens.")
                .default("127.0.0.1:7072"),
            Key::new("LISTEN_RENDERCTL", Kind::SocketAddress, "Where the renderctl role listens.")
                .default("127.0.0.1:7073"),
            Key::new("LISTEN_ECHO", Kind::SocketAddress, "Where the echo role listens.").default("127.0.0.1:7074"),
            Key::new("RENDER_API_TOKEN", Kind::Text, "The token that Render knows us by; it is sent nowhere else.")
                .example("rnd_0000")
                .required_for(&[Role::Renderctl])
                .secret(),
            Key::new("RENDER_API_BASE_URL", HTTP, "Where Render's API is.").default("https://api.render.com/v1"),
        ],
    },
    Group {
        title: "Logs",
        keys: &[
            Key::new("LOG_FORMAT", Kind::Choice(&["json", "pretty"]), "JSON lines for machines, or lines for people.")
                .default("json")
                .in_dev("pretty"),
            Key::new("FERMATA_LOG", Kind::LogFilter, "Which log lines are written.")
                .aliases(&["RUST_LOG"])
                .default("info"),
        ],
    },
    Group {
        title: "Traces",
        keys: &[
            Key::new(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                HTTP,
                "Where spans are sent (OTLP over HTTP, protobuf; /v1/traces is appended); none are made when not set.",
            )
            .example("http://127.0.0.1:4318"),
            Key::new(
                "OTEL_EXPORTER_OTLP_HEADERS",
                Kind::Headers,
                "Headers of what is sent there, such as the key of a service.",
            )
            .example("api-key=0000")
            .secret(),
            Key::new("OTEL_SERVICE_NAME", Kind::Text, "The name under which the spans are shown.").default("fermata"),
        ],
    },
];

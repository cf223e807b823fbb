//! The principal: who calls, and what that one may.

use std::collections::BTreeSet;

use super::Scope;

/// Stands for every client where a client is named.
const EVERY_CLIENT: &str = "*";

/// Who calls. Made from a token by `Engine::authenticate`, or [`Principal::operator`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's id, or `local`.
    pub id: String,
    /// What the token was named; stored as the actor of what is done with it.
    pub name: String,
    /// The client that it acts for; `*` is every client.
    pub client_id: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The command types that it may submit; `None` is every type.
    pub command_types: Option<Vec<String>>,
}

/// The principal is known but may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It lacks a scope.
    #[error("this needs the scope `{0}`, which the token does not have")]
    Scope(Scope),
    /// The command type is not on its list.
    #[error("this token may not submit commands of type `{kind}`; it may submit {}", allowed.join(", "))]
    CommandType {
        /// What it tried.
        kind: String,
        /// What it may.
        allowed: Vec<String>,
    },
    /// It acts for another client.
    #[error("this token does not act for client `{0}`")]
    Client(String),
}

/// There is no client to submit for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    /// The principal does not act for the one that was named.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// None was named, the principal acts for every client, and there is no default.
    #[error("is required: this token acts for every client")]
    Unnamed,
}

impl Principal {
    /// Every scope for every client: the local command line and tests.
    pub fn operator() -> Self {
        Self {
            id: "local".to_owned(),
            name: "operator".to_owned(),
            client_id: EVERY_CLIENT.to_owned(),
            scopes: Scope::ALL.iter().copied().collect(),
            command_types: None,
        }
    }

    /// Another service of this installation: it shows the internal key instead of a token (A.5).
    pub fn internal() -> Self {
        Self {
            id: "internal".to_owned(),
            name: "internal".to_owned(),
            client_id: EVERY_CLIENT.to_owned(),
            scopes: BTreeSet::from([Scope::Internal, Scope::LogsWrite]),
            command_types: None,
        }
    }

    /// Whether it has a scope, by name or through `admin`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Refuses a principal without the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Denied> {
        if self.has(scope) { Ok(()) } else { Err(Denied::Scope(scope)) }
    }

    /// Refuses a principal that has none of the scopes; names the first.
    pub fn require_any(&self, scopes: &[Scope]) -> Result<(), Denied> {
        match scopes {
            [first, ..] if !scopes.iter().any(|scope| self.has(*scope)) => Err(Denied::Scope(*first)),
            _ => Ok(()),
        }
    }

    /// Whether it acts for that client.
    pub fn may_act_for(&self, client: &str) -> bool {
        self.acts_for_all() || self.client_id == client
    }

    /// Whether it acts for every client.
    pub fn acts_for_all(&self) -> bool {
        self.client_id == EVERY_CLIENT
    }

    /// Refuses a principal of one client only.
    pub fn require_every_client(&self) -> Result<(), Denied> {
        if self.acts_for_all() { Ok(()) } else { Err(Denied::Client(EVERY_CLIENT.to_owned())) }
    }

    /// For which client a submission is: the one that it names, the principal's own, or, for a
    /// principal of every client, `default`.
    pub fn client_for(&self, named: Option<String>, default: Option<&str>) -> Result<String, NoClient> {
        match named {
            Some(client) if self.may_act_for(&client) => Ok(client),
            Some(client) => Err(Denied::Client(client).into()),
            None if self.acts_for_all() => default.map(str::to_owned).ok_or(NoClient::Unnamed),
            None => Ok(self.client_id.clone()),
        }
    }

    /// Refuses a command type that is not on the principal's list (003's allowlist, A.5).
    pub fn may_submit(&self, kind: &str) -> Result<(), Denied> {
        match &self.command_types {
            Some(allowed) if !allowed.iter().any(|allowed| allowed == kind) => {
                Err(Denied::CommandType { kind: kind.to_owned(), allowed: allowed.clone() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Principal {
        Principal {
            id: "1".into(),
            name: "reader".into(),
            client_id: "acme".into(),
            scopes: BTreeSet::from([Scope::CommandsRead]),
            command_types: Some(vec!["flow.run".into()]),
        }
    }

    #[test]
    fn a_missing_scope_is_named() {
        assert_eq!(reader().require(Scope::CommandsRead), Ok(()));
        let denied = reader().require(Scope::CommandsWrite).unwrap_err();
        assert!(denied.to_string().contains("commands:write"), "{denied}");
        let either = [Scope::GatesDecide, Scope::CommandsRead];
        assert_eq!(reader().require_any(&either), Ok(()));
        assert_eq!(reader().require_any(&either[..1]), Err(Denied::Scope(Scope::GatesDecide)));
    }

    #[test]
    fn a_submission_is_for_the_named_client_the_principals_own_or_the_default() {
        let named = |by: &Principal, name: Option<&str>, default| by.client_for(name.map(Into::into), default);
        assert_eq!(named(&reader(), None, Some("demo")), Ok("acme".into()));
        assert_eq!(named(&reader(), Some("acme"), None), Ok("acme".into()));
        assert_eq!(named(&reader(), Some("other"), None), Err(Denied::Client("other".into()).into()));
        assert_eq!(named(&Principal::operator(), Some("other"), Some("demo")), Ok("other".into()));
        assert_eq!(named(&Principal::operator(), None, Some("demo")), Ok("demo".into()));
        assert_eq!(named(&Principal::operator(), None, None), Err(NoClient::Unnamed));
    }

    #[test]
    fn admin_stands_for_every_scope() {
        let admin = Principal { scopes: BTreeSet::from([Scope::Admin]), ..reader() };
        assert!(Scope::ALL.iter().all(|scope| admin.require(*scope).is_ok()));
    }

    #[test]
    fn a_principal_acts_for_its_own_client_only() {
        assert!(reader().may_act_for("acme"));
        assert!(!reader().may_act_for("acm") && !reader().may_act_for("*"));
        assert!(Principal::operator().may_act_for("anybody"));
    }

    #[test]
    fn only_listed_command_types_are_submitted() {
        assert_eq!(reader().may_submit("flow.run"), Ok(()));
        assert!(reader().may_submit("flow.run.x").is_err());
        assert_eq!(Principal::operator().may_submit("anything"), Ok(()));
    }
}

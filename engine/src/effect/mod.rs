//! Side effects: the one way to change the outside world, at most once (design, section 5).
//!
//! Owns the action machine ([`ActionState`]), what an action type is ([`Effect`]), the proof that
//! an action passed its guard ([`EffectPermit`]), as whom an account acts ([`Fingerprint`]), and how a look at the
//! outside settles an action whose answer was lost. What is allowed is [`crate::policy`]'s. Does not know any platform, HTTP client or browser.
//! To add an action type, implement [`Effect`] in `workflows` and pass it to `Context::effect`.

mod account;
mod action;
mod contract;
mod doubt;
mod fingerprint;
mod identify;
mod kill_switch;
mod outcome;
mod perform;
mod permit;
mod plan;
mod preflight;
mod record;
mod repeat;
mod row;
mod settings;
mod settle;
mod throttle;
mod vocabulary;

pub use account::{AccountFilter, AccountMode, AccountName, AccountTrouble, AccountView};
pub(crate) use account::{Configuring, Connecting, ModeTurn};
pub use action::{ActionState, IllegalMove};
pub use contract::{Absence, CallOutcome, Effect, EffectSpec, Evidence, Lane, Look, Prepared, Receipt, Sighting};
pub use fingerprint::Fingerprint;
pub(crate) use identify::Standing;
pub use kill_switch::{DRAIN_PATIENCE, KillSwitch, MAX_REASON_BYTES, SwitchError, SwitchScope, SwitchTurn, UnderWay};
pub(crate) use kill_switch::{EVERY, Extent, MAX_UNDER_WAY};
pub(crate) use perform::perform;
pub use permit::EffectPermit;
pub(crate) use record::intent_key;
pub(crate) use row::ActionRow;
pub use settings::AccountSettings;
pub(crate) use settle::{Next, Settling, next};
pub use throttle::THROTTLED;
pub use vocabulary::{UnknownWord, Vocabulary};

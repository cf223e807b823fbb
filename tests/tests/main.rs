//! The laws of the engine, of flows, of the contract and of the house, in one binary: each test binary links the
//! whole program, and linking is what a build of tests spends its time on.

mod admission;
mod audit;
mod boundaries;
mod clients;
mod contract;
mod crash;
mod effects;
mod ending;
mod heads;
mod house;
mod identity;
mod kill_switch;
mod lost_answers;
mod metrics;
mod model;
mod neighbours;
mod order;
mod plans;
mod policies;
mod pooler;
mod rations;
mod retries;
mod riding;
mod runs;
mod secrets;
mod sora;
mod stream;
mod telemetry;
mod traces;
mod trips;
mod unrecorded;

//! Tests against a real API server. They need KUBECONFIG of a throwaway cluster with our CRDs: `make test` brings one up.

#![allow(unreachable_pub, reason = "the modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test says what is wrong by ending"
)]
#![allow(clippy::disallowed_methods, reason = "how much to test, and on what, is told by the environment")]
#![allow(clippy::missing_panics_doc, clippy::float_cmp, reason = "counts are small whole numbers")]

mod agreement;
mod agreement_judge;
mod agreement_score;
mod agreement_sides;
#[path = "../support/alertmanager.rs"]
mod alertmanager;
mod alertmanager_polls;
mod alertmanager_routes;
mod alertmanager_scene;
mod bad_input;
mod bounds;
mod counting;
mod crash;
mod crash_api;
mod crash_life;
mod crash_trap;
mod crd_older;
mod crd_policy;
mod crd_request;
mod crd_signal;
mod events_source;
mod exporter;
mod fairness;
mod forwarder;
mod gateway;
mod gateway_again;
mod gateway_alertmanager;
mod gateway_policies;
#[path = "../support/http.rs"]
mod http;
mod kubectl_act;
mod kubectl_check;
mod kubectl_dashboard;
mod kubectl_plugin;
mod kubectl_why;
mod large;
mod leading;
mod leading_load;
mod life;
mod manifests;
mod memory_full;
mod metrics;
mod namespaces;
mod operator;
mod orphans;
mod outage;
mod outage_full;
mod outage_versions;
mod overwritten;
mod own_cluster;
mod policies;
mod prometheus;
mod reach;
mod real_prometheus;
mod recorder;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod registers;
mod replicas;
mod restart;
mod rights;
mod running;
mod said;
mod signals;
mod stays;
mod successors;
mod tenants;
mod wait;
mod webhook;
mod world;

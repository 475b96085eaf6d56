//! What tests plant in a database behind the daemon's back, on one server or a cluster.

/// One transaction that changes rows as the loader does, with no key checked, over all nodes of a cluster.
pub fn planted(statements: &str) -> String {
    format!(
        "begin; set local citus.multi_shard_modify_mode = 'sequential'; set local citus.propagate_set_commands = 'local'; \
         set local session_replication_role = replica; {statements}; commit"
    )
}

/// The URL with one more parameter.
pub fn with_parameter(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

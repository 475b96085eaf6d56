//! What the daemon answers over HTTP: liveness, readiness, metrics.

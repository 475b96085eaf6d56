//! Spans for an OpenTelemetry collector: with the feature `otel`, where `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` names one. Otherwise nothing here does anything.
//!
//! What is sent is what the log's filter lets through, and holds no more than the log: names, times, counts.

use tracing::Span;

#[cfg(feature = "otel")]
mod exported {
    use std::sync::OnceLock;
    use std::time::Duration;

    use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
    use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::{Span, Subscriber};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::Layer;
    use tracing_subscriber::registry::LookupSpan;

    const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    /// For what was not sent yet when the process ends.
    const FAREWELL: Duration = Duration::from_secs(2);

    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

    /// `None` where no collector is named.
    pub fn layer<S>() -> Result<Option<impl Layer<S>>, ExporterBuildError>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        if ENDPOINTS.iter().all(|name| std::env::var_os(name).is_none_or(|value| value.is_empty())) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build()?;
        let resource = Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = PROVIDER.get_or_init(|| provider).tracer(env!("CARGO_PKG_NAME"));
        // Neither file and line nor threads: they tell operators nothing.
        Ok(Some(tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false)))
    }

    pub fn mark(span: &Span) {
        if PROVIDER.get().is_some() {
            let context = span.context();
            let trace = context.span().span_context().trace_id();
            span.record("trace.id", tracing::field::display(trace));
        }
    }

    pub fn flush() {
        if let Some(provider) = PROVIDER.get()
            && let Err(error) = provider.shutdown_with_timeout(FAREWELL)
        {
            tracing::debug!(%error, "The last spans could not be sent.");
        }
    }
}

#[cfg(feature = "otel")]
pub(super) use exported::layer;

/// Writes the trace's id into the span's field `trace.id`, so that a line of the log leads to its trace.
#[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "no trace without the feature"))]
pub fn mark(span: &Span) {
    #[cfg(feature = "otel")]
    exported::mark(span);
}

/// Sends what is left, at the end of the process.
pub fn flush() {
    #[cfg(feature = "otel")]
    exported::flush();
}

//! `koresync healthcheck`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use super::{Context, Ended, Exit, output};

const PATIENCE: Duration = Duration::from_secs(3);

/// Exits 0 when the daemon is ready, 1 when it is not or does not answer.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Where the daemon listens [default: `server.listen` of the configuration]
    #[arg(long, value_name = "IP:PORT")]
    pub address: Option<SocketAddr>,
}

pub async fn execute(args: HealthcheckArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let listen = match args.address {
        Some(address) => address,
        None => context.settings()?.server.listen,
    };
    if listen.port() == 0 {
        return Err(Ended::new(
            Exit::Usage,
            "server.listen has port 0, so the port is not known beforehand; name it with --address",
        )
        .into());
    }
    let client =
        reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().map_err(reqwest::Error::without_url)?;
    let url = format!("http://{}/readyz", reachable(listen));
    let answer = async {
        let response = client.get(url).send().await?;
        let is_ready = response.status() == reqwest::StatusCode::OK;
        Ok((is_ready, response.text().await?))
    };
    match answer.await.map_err(reqwest::Error::without_url) {
        Ok((true, _)) => Ok(Exit::Done),
        Ok((false, checks)) => {
            output::say(&format!("the daemon is not ready\n{}", checks.trim_end()));
            Ok(Exit::Failed)
        }
        Err(error) => {
            Err(anyhow::Error::new(error).context(format!("the daemon does not answer at {}", reachable(listen))))
        }
    }
}

/// An address that means every interface is reached through this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

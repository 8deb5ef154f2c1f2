//! A wire to the API server that a test can cut, stall and mend.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Whole,
    /// Connections end.
    Cut,
    /// Connections stay, and nothing comes through: as before a server that is stopped.
    Stalled,
}

/// Forwards connections while it is whole. Needs a runtime that runs while the test waits.
pub struct Forwarder {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
}

impl Forwarder {
    /// A wire to the server of this kubeconfig, and the kubeconfig that goes through it.
    pub async fn to(kubeconfig: &str) -> (Self, String) {
        let mut config: serde_json::Value = serde_json::from_str(kubeconfig).unwrap();
        let server = &mut config["clusters"][0]["cluster"]["server"];
        let target = server.as_str().unwrap().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        *server = format!("https://{address}").into();
        let (wire, seen) = watch::channel(Wire::Whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, target.clone(), seen.clone()));
            }
        });
        (Self { address, wire }, config.to_string())
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        assert_eq!(self.wire.send_replace(Wire::Cut), Wire::Whole, "{}", self.address);
    }

    /// Takes every connection, and lets nothing through.
    pub fn stall(&self) {
        assert_eq!(self.wire.send_replace(Wire::Stalled), Wire::Whole, "{}", self.address);
    }

    /// Lets everything through.
    pub fn mend(&self) {
        self.wire.send_replace(Wire::Whole);
    }
}

async fn forward(mut near: TcpStream, target: String, mut wire: watch::Receiver<Wire>) {
    if *wire.borrow_and_update() == Wire::Cut {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let (there, back) = (wire.clone(), wire.clone());
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let both = async { tokio::join!(pump(near_read, far_write, there), pump(far_read, near_write, back)) };
    tokio::select! {
        _ = both => {}
        _ = wire.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}

/// Until either end hangs up, which it may when it likes.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if wire.wait_for(|wire| *wire == Wire::Whole).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

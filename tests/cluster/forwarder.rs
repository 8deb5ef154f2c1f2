//! A wire to the API server that a test can cut and mend.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections while it is whole. Needs a runtime that runs while the test waits.
pub struct Forwarder {
    address: SocketAddr,
    whole: watch::Sender<bool>,
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
        let (whole, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, target.clone(), seen.clone()));
            }
        });
        (Self { address, whole }, config.to_string())
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        assert!(self.whole.send_replace(false), "{} is cut already", self.address);
    }

    /// Lets new connections through.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn forward(mut near: TcpStream, target: String, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    tokio::select! {
        // Either end may hang up when it likes.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}

//! One HTTP request on a connection of its own, and its answer.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status and body.
pub async fn exchange(address: &str, line: &str, headers: &str, body: &[u8]) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let head = format!("{line} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    let mut answer = Vec::new();
    let (mut reader, mut writer) = stream.split();
    // The answer to a body that is too large comes before all of it is sent, and the connection ends.
    let send = async {
        let _ = writer.write_all(head.as_bytes()).await;
        let _ = writer.write_all(body).await;
    };
    tokio::join!(send, async { drop(reader.read_to_end(&mut answer).await) });
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

//! An exchange walked over a connection: a started emulator, raw bytes in and out of the
//! vendor's own port.

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use mqttstack_pipeline::REQUEST_ID;
use mqttstack_pipeline::journal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Answered, Exchanged, Fixture, Seen};
use crate::router;

/// Walks the exchange and tells what was seen.
pub(crate) async fn walk(fixture: &Fixture) -> Result<Seen, String> {
    let given = &fixture.given;
    let mut config = Config::free_ports();
    config.aliyun = serde_json::from_value(given.settings.clone())
        .map_err(|error| format!("given.settings: {error}"))?;
    let emulator = Emulator::builder()
        .config(config)
        .clock(given.clock)
        .seed(given.seed)
        .start()
        .await
        .map_err(|error| error.to_string())?;
    let url = emulator.vendor_url(Surface::Aliyun).ok_or("no port")?;
    let address = url.trim_start_matches("http://").to_owned();
    for before in &given.before {
        let answer = exchange(&address, before).await?;
        if answer.status != 200 {
            return Err(format!("a request before was answered {}", answer.status));
        }
    }
    let earlier = emulator.messages().last();
    let answer = exchange(&address, &fixture.request).await?;
    let journal: &journal::Journal = &emulator.app().journal;
    let seen = router::seen(journal, earlier, answer);
    emulator.stop().await;
    seen
}

async fn exchange(address: &str, request: &Exchanged) -> Result<Answered, String> {
    talk(address, request)
        .await
        .map_err(|error| error.to_string())
}

async fn talk(address: &str, request: &Exchanged) -> Result<Answered, Box<dyn std::error::Error>> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, request.target());
    for (name, value) in &request.headers {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.push_str("\r\n");
    bytes.push_str(&request.body);
    raw(address, bytes.as_bytes()).await
}

/// Sends these bytes and reads one answer.
pub(crate) async fn raw(
    address: &str,
    bytes: &[u8],
) -> Result<Answered, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut received = Vec::new();
    let (head, body) = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break (
                String::from_utf8(received[..end].to_vec())?,
                received.split_off(end + 4),
            );
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err("the connection ended within the head".into());
        }
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .filter(|(name, _)| name != REQUEST_ID)
        .collect();
    let status: u16 = status.ok_or("no status")?.parse()?;
    if status == 204 {
        return Ok(Answered {
            status,
            headers,
            body: String::from_utf8(body)?,
        });
    }
    let close = headers.pop_if(|(name, _)| name == "Connection");
    // The loop's own field: it must be last and right, and is not in the fixture.
    let (name, length) = headers.pop().ok_or("no header field")?;
    if name != "Content-Length" {
        return Err(format!("the last header field is {name}").into());
    }
    headers.extend(close);
    let mut body = body;
    while body.len() < length.parse()? {
        if stream.read_buf(&mut body).await? == 0 {
            return Err("the connection ended within the body".into());
        }
    }
    Ok(Answered {
        status,
        headers,
        body: String::from_utf8(body)?,
    })
}

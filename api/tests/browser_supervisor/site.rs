//! A small site to drive: counts what reaches it, and tells a child process when to go on.

use std::collections::HashMap;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A page with the kinds of controls that the tests need.
const FORM: &str = r#"<!doctype html><title>A form</title>
<label for=caption>Caption <span aria-hidden=true>*</span></label><textarea id=caption></textarea>
<label>Tag<input id=tag></label>
<label>Photo<input id=photo type=file style="display:none"></label>
<section aria-label="Drafts"><button>Delete</button></section>
<section aria-label="Posts"><button>Delete</button></section>
<div id=plain style="width:40px;height:40px;background:#ddd" onclick="tell('plain')"></div>
<button id=hidden style="display:none">Post</button>
<button id=send><img alt="Plane" src="data:," width=8 height=8><span>Post</span></button>
<button id=off disabled>Never</button>
<div style="position:relative;width:120px;height:40px"><button>Under</button>
  <div id=veil style="position:absolute;inset:0;background:rgba(0,0,0,.2)"></div></div>
<a href="/next" data-testid="next">Go on</a>
<p id=said></p>
<script>
  const tell = (what, body) => fetch('/reached/' + what, { method: 'POST', body: body || '' })
    .then(() => { document.getElementById('said').textContent = 'Sent ' + what });
  document.getElementById('send').onclick = () => {
    const file = document.getElementById('photo').files[0];
    tell('post', [document.getElementById('caption').value, document.getElementById('tag').value,
      file ? file.name + ' ' + file.size : 'no file'].join('|'));
  };
</script>"#;

/// The running site.
pub(crate) struct Site {
    /// Where it is, such as `http://127.0.0.1:40001`.
    pub(crate) base: String,
    state: Arc<Reached>,
    server: JoinHandle<()>,
}

struct Reached {
    requests: Mutex<HashMap<String, Vec<String>>>,
    go: watch::Sender<bool>,
}

impl Site {
    /// Starts on a free port.
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let state = Arc::new(Reached { requests: Mutex::default(), go: watch::Sender::new(false) });
        let app = Router::new()
            .route("/form", get(async || Html(FORM)))
            .route("/next", get(async || Html("<title>Next</title><p>The next page</p>")))
            .route("/hang", get(async || pending::<()>().await))
            .route("/go", get(go))
            .route("/reached/{what}", post(reached))
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            drop(axum::serve(listener, app).await);
        });
        Ok(Self { base, state, server })
    }

    /// An address of this site.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The bodies that reached `/reached/<what>`, in order.
    pub(crate) fn reached(&self, what: &str) -> Vec<String> {
        let requests = self.state.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(what).cloned().unwrap_or_default()
    }

    /// Lets everyone go on who waits at `/go`.
    pub(crate) fn let_go(&self) {
        self.state.go.send_replace(true);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn reached(State(state): State<Arc<Reached>>, Path(what): Path<String>, body: Bytes) {
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut requests = state.requests.lock().unwrap_or_else(PoisonError::into_inner);
    requests.entry(what).or_default().push(body);
}

async fn go(State(state): State<Arc<Reached>>) {
    let mut go = state.go.subscribe();
    drop(go.wait_for(|open| *open).await);
}

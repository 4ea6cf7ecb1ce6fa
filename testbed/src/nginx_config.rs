//! The configuration of a private nginx: everything it writes lies in its own directory, the rest is the test's.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What a test wants to say in nginx.conf. Texts are whole directives, `;` and all.
#[derive(Clone, Debug)]
pub struct Config {
    /// `worker_processes`.
    pub workers: usize,
    /// Whether it goes into the background, as it does in production. In the foreground it takes no new binary (USR2).
    pub daemon: bool,
    /// Module to load.
    pub module: Option<PathBuf>,
    /// Least severity in error.log.
    pub error_level: &'static str,
    /// Further directives of the main context.
    pub main: String,
    /// Further directives of `http`: upstreams, log formats, more servers.
    pub http: String,
    /// Further directives of the one `server`, which listens on the port of `Nginx`.
    pub server: String,
}

impl Config {
    /// Two workers and nginx's own modules only.
    pub fn plain() -> Config {
        Config {
            workers: 2,
            daemon: false,
            module: None,
            error_level: "notice",
            main: String::new(),
            http: String::new(),
            server: String::new(),
        }
    }

    /// Two workers and Tidegate's module.
    pub fn tidegate() -> Config {
        Config { module: Some(module()), ..Config::plain() }
    }

    /// In the background.
    pub fn daemon(self) -> Config {
        Config { daemon: true, ..self }
    }

    /// With directives for `http`.
    pub fn http(mut self, text: &str) -> Config {
        self.http.push_str(text);
        self.http.push('\n');
        self
    }

    /// With directives for the server.
    pub fn server(mut self, text: &str) -> Config {
        self.server.push_str(text);
        self.server.push('\n');
        self
    }

    /// With an upstream of these servers (`127.0.0.1:9001 weight=2`). `first` comes before the servers (and so before
    /// `keepalive`, which must be the last to set the balancer), `last` after them.
    pub fn upstream(self, name: &str, first: &str, servers: &[String], last: &str) -> Config {
        let mut block = format!("upstream {name} {{\n    {first}\n");
        for server in servers {
            let _ = writeln!(block, "    server {server};");
        }
        let _ = write!(block, "    {last}\n}}");
        self.http(&block)
    }

    /// nginx.conf for a prefix and a port.
    pub fn render(&self, prefix: &Path, port: u16) -> String {
        let module = self.module.as_ref().map(|m| format!("load_module {};\n", m.display())).unwrap_or_default();
        // As root nginx would give its workers to nobody, who may not enter a directory of mode 0700.
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        let daemon = if self.daemon { "on" } else { "off" };
        let Config { workers, error_level, main, http, server, .. } = self;
        let prefix = prefix.display();
        format!(
            "{module}{user}daemon {daemon};
worker_processes {workers};
pid {prefix}/nginx.pid;
error_log {prefix}/error.log {error_level};
{main}
events {{ worker_connections 4096; }}
http {{
access_log off;
client_body_temp_path {prefix}/body;
proxy_temp_path {prefix}/proxy;
fastcgi_temp_path {prefix}/fastcgi;
scgi_temp_path {prefix}/scgi;
uwsgi_temp_path {prefix}/uwsgi;
{http}
server {{
listen 127.0.0.1:{port};
{server}
}}
}}
"
        )
    }
}

/// Tidegate's module: TIDEGATE_NGINX_MODULE, or where `make nginx` puts it.
pub fn module() -> PathBuf {
    std::env::var_os("TIDEGATE_NGINX_MODULE")
        .map_or_else(|| built("nginx/ngx_http_tidegate_module.so"), |path| std::path::absolute(path).expect("a path"))
}

/// A file under the workspace's `build`.
pub(crate) fn built(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the test bed is a member of a workspace");
    root.join("build").join(path)
}

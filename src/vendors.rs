//! The five vendors, each a folder with the same rooms, as files or as folders: `auth` who calls,
//! `api` what can be asked, `error` how it refuses, `mqtt` its MQTT side, `store` its resources. No
//! vendor knows another; [`Vendors`] is the list of those that this version emulates.

use std::sync::Arc;

use mqttstack_aliyun::{self as aliyun, Aliyun};
use mqttstack_azure_event_grid::{self as azure_event_grid, AzureEventGrid};
use mqttstack_base::exchange::{Answer, BodyPolicy, Head, Request, Surface};
use mqttstack_nanomq::{self as nanomq, Nanomq};
use mqttstack_pipeline::App;
use mqttstack_pipeline::{Vendor, run_until};
use mqttstack_tencent_cloud_api as cloud_api;
use mqttstack_tencent_iot_hub::{self as tencent_iot, TencentIot};
use mqttstack_tencent_tdmq::{self as tencent_tdmq, TencentTdmq};

/// The vendors of one emulator. A new one is a field, and an arm in each match.
#[derive(Debug, Clone)]
pub(crate) struct Vendors(Arc<Rooms>);

#[derive(Debug)]
struct Rooms {
    aliyun: Aliyun,
    azure: AzureEventGrid,
    nanomq: Nanomq,
    tencent_iot: TencentIot,
    tencent_tdmq: TencentTdmq,
}

/// A vendor that cannot be what its settings say.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Aliyun's settings.
    #[error("{0}")]
    Aliyun(#[from] aliyun::SettingsError),
    /// Azure's settings.
    #[error("{0}")]
    Azure(#[from] azure_event_grid::SettingsError),
    /// `NanoMQ`'s settings.
    #[error("{0}")]
    Nanomq(#[from] nanomq::SettingsError),
    /// Tencent IoT Hub's settings.
    #[error("{0}")]
    TencentIot(#[from] tencent_iot::SettingsError),
    /// Tencent TDMQ's settings.
    #[error("{0}")]
    TencentTdmq(#[from] tencent_tdmq::SettingsError),
}

impl Vendors {
    /// The surfaces that this version emulates.
    pub(crate) const EMULATED: [Surface; 5] = [
        Surface::Aliyun,
        Surface::TencentIot,
        Surface::TencentTdmq,
        Surface::Azure,
        Surface::Nanomq,
    ];

    /// All vendors in their seeded state.
    pub(crate) fn new(
        aliyun: aliyun::Settings,
        azure: azure_event_grid::Settings,
        nanomq: nanomq::Settings,
        tencent_iot: tencent_iot::Settings,
        tencent_tdmq: tencent_tdmq::Settings,
        tencent_cloud: cloud_api::Settings,
    ) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Rooms {
            aliyun: Aliyun::new(aliyun)?,
            azure: AzureEventGrid::new(azure)?,
            nanomq: Nanomq::new(nanomq)?,
            tencent_iot: TencentIot::new(tencent_iot, tencent_cloud.clone())?,
            tencent_tdmq: TencentTdmq::new(tencent_tdmq, tencent_cloud)?,
        })))
    }

    /// Tells those that care when they began, and the broker who speaks a dialect of their own.
    pub(crate) fn started(&self, app: &App) {
        self.0.aliyun.started(app);
        self.0.azure.started(app);
        self.0.nanomq.started(app.clock.now());
        app.broker.add_dialect(self.0.tencent_iot.dialect(app));
        app.broker.add_dialect(self.0.tencent_tdmq.dialect(app));
    }

    /// Walks a request for one surface; refuses it if it is not answered before `cut`.
    pub(crate) async fn answer(
        &self,
        app: &App,
        surface: Surface,
        request: &Request,
        cut: impl Future<Output = ()> + Send,
    ) -> Answer {
        match surface {
            Surface::Aliyun => run_until(app, &self.0.aliyun, request, cut).await,
            Surface::Azure => run_until(app, &self.0.azure, request, cut).await,
            Surface::Nanomq => run_until(app, &self.0.nanomq, request, cut).await,
            Surface::TencentIot => run_until(app, &self.0.tencent_iot, request, cut).await,
            Surface::TencentTdmq => run_until(app, &self.0.tencent_tdmq, request, cut).await,
        }
    }

    /// How a surface wants a body read.
    pub(crate) fn body_policy(&self, surface: Surface, head: &Head) -> BodyPolicy {
        match surface {
            Surface::Aliyun => self.0.aliyun.body_policy(head),
            Surface::Azure => self.0.azure.body_policy(head),
            Surface::Nanomq => self.0.nanomq.body_policy(head),
            Surface::TencentIot => self.0.tencent_iot.body_policy(head),
            Surface::TencentTdmq => self.0.tencent_tdmq.body_policy(head),
        }
    }

    /// Puts every vendor's resources back to the configured ones.
    pub(crate) fn reset(&self, app: &App) {
        self.0.aliyun.reset();
        self.0.azure.reset();
        self.0.nanomq.reset();
        self.0.tencent_iot.reset();
        self.0.tencent_tdmq.reset();
        self.0.nanomq.count_from(app.broker.counters());
    }
}

//! Chinese, in simplified characters.

use super::{Labels, Message};

pub(super) const LABELS: Labels = Labels {
    dependencies: "所需的服务",
    starting: "启动",
    answering: "等待应用响应",
    again: "重试",
    progress: "进度",
    usual: "通常需要约 {}",
    seconds: "{} 秒",
    minutes: "{} 分钟",
};

pub(super) fn say(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::Reading => ("请稍候", "正在了解它的状态。"),
        Message::Waking => ("正在唤醒", "它因无人使用而休眠，很快就好。"),
        Message::Needs => ("正在唤醒所需的服务", "就绪后便会启动。"),
        Message::Answering => ("马上就好", "它已启动，正在做准备。"),
        Message::Ready => ("已就绪", "即将打开。"),
        Message::FallingAsleep => ("正在进入休眠", "随后会立即唤醒。"),
        Message::EngineAway => ("无法连接", "目前无法连接到运行它的机器，正在不断重试。"),
        Message::Asleep => ("休眠中", "此类请求不会唤醒它。"),
        Message::StartFailed => ("无法启动", "它未能启动，管理员可在日志中找到原因。"),
        Message::NeedFailed => ("缺少所需的服务", "它所需要的某项服务无法启动。"),
        Message::NotFound => ("不存在", "该应用的容器不存在或已被删除。"),
        Message::NotPermitted => ("没有权限", "drowse 缺少一项权限，详见其日志。"),
        Message::Locked => ("正忙", "另一项操作（(例如备份))正在进行，完成后便会启动。"),
        Message::Slow => ("仍在启动", "花费的时间比预期更长，但仍在继续。"),
        Message::HeldAsleep => ("保持休眠", "管理员暂时让它保持休眠。"),
        Message::Misconfigured => ("配置有误", "它的配置存在错误，详见 drowse 的日志。"),
        Message::NotManaged => ("正在变更", "此刻它未受管理。"),
        Message::Stopped => ("无法保持运行", "它多次就绪后又停止，本页面不再自动重试。"),
    }
}

CREATE DATABASE IF NOT EXISTS `sendgrid`;

CREATE TABLE IF NOT EXISTS `sendgrid`.`processed_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `pool_name` LowCardinality(String),
    `pool_id` String,
    `send_at` DateTime64(3, 'UTC'),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`processed` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`pool_name` AS `pool_name`, stored.`pool_id` AS `pool_id`, stored.`send_at` AS `send_at`
FROM `sendgrid`.`processed_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`deferred_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `tls` Nullable(Int64),
    `cert_err` String,
    `response` String,
    `reason` String,
    `attempt` Int64,
    `domain` String,
    `from` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`deferred` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`tls` AS `tls`, stored.`cert_err` AS `cert_err`, stored.`response` AS `response`, stored.`reason` AS `reason`, stored.`attempt` AS `attempt`, stored.`domain` AS `domain`, stored.`from` AS `from`
FROM `sendgrid`.`deferred_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`delivered_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `tls` Nullable(Int64),
    `cert_err` String,
    `response` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`delivered` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`tls` AS `tls`, stored.`cert_err` AS `cert_err`, stored.`response` AS `response`
FROM `sendgrid`.`delivered_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`bounce_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `tls` Nullable(Int64),
    `cert_err` String,
    `type` LowCardinality(String),
    `reason` String,
    `status` String,
    `bounce_classification` LowCardinality(String),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`bounce` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`tls` AS `tls`, stored.`cert_err` AS `cert_err`, stored.`type` AS `type`, stored.`reason` AS `reason`, stored.`status` AS `status`, stored.`bounce_classification` AS `bounce_classification`
FROM `sendgrid`.`bounce_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`dropped_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `reason` String,
    `status` String,
    `type` LowCardinality(String),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`dropped` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`reason` AS `reason`, stored.`status` AS `status`, stored.`type` AS `type`
FROM `sendgrid`.`dropped_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`open_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `sg_machine_open` Bool,
    `sg_content_type` LowCardinality(String),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`_open` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, stored.`sg_machine_open` AS `sg_machine_open`, stored.`sg_content_type` AS `sg_content_type`
FROM `sendgrid`.`open_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`click_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `url` String,
    `url_offset_index` Nullable(Int64),
    `url_offset_type` LowCardinality(String),
    `sg_content_type` LowCardinality(String),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`click` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, stored.`url` AS `url`, stored.`url_offset_index` AS `url_offset_index`, stored.`url_offset_type` AS `url_offset_type`, stored.`sg_content_type` AS `sg_content_type`
FROM `sendgrid`.`click_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`spam_report_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`spam_report` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`
FROM `sendgrid`.`spam_report_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`unsubscribe_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`unsubscribe` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`
FROM `sendgrid`.`unsubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`group_unsubscribe_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `url` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`group_unsubscribe` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, stored.`url` AS `url`
FROM `sendgrid`.`group_unsubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`group_resubscribe_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `asm_group_id` Int64,
    `marketing_campaign_id` Int64,
    `marketing_campaign_name` String,
    `marketing_campaign_version` LowCardinality(String),
    `marketing_campaign_split_id` Int64,
    `singlesend_id` String,
    `singlesend_name` String,
    `template_id` String,
    `template_version_id` String,
    `template_hash` String,
    `sg_template_id` String,
    `sg_template_name` String,
    `sg_user_id` Int64,
    `mc_stats` LowCardinality(String),
    `phase_id` LowCardinality(String),
    `post_type` LowCardinality(String),
    `newsletter_id` String,
    `newsletter_user_list_id` String,
    `newsletter_send_id` String,
    `nlvx_campaign_id` String,
    `nlvx_campaign_split_id` String,
    `nlvx_user_id` String,
    `ip` String,
    `useragent` String,
    `url` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`group_resubscribe` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`marketing_campaign_version` AS `marketing_campaign_version`, stored.`marketing_campaign_split_id` AS `marketing_campaign_split_id`, stored.`singlesend_id` AS `singlesend_id`, stored.`singlesend_name` AS `singlesend_name`, stored.`template_id` AS `template_id`, stored.`template_version_id` AS `template_version_id`, stored.`template_hash` AS `template_hash`, stored.`sg_template_id` AS `sg_template_id`, stored.`sg_template_name` AS `sg_template_name`, stored.`sg_user_id` AS `sg_user_id`, stored.`mc_stats` AS `mc_stats`, stored.`phase_id` AS `phase_id`, stored.`post_type` AS `post_type`, stored.`newsletter_id` AS `newsletter_id`, stored.`newsletter_user_list_id` AS `newsletter_user_list_id`, stored.`newsletter_send_id` AS `newsletter_send_id`, stored.`nlvx_campaign_id` AS `nlvx_campaign_id`, stored.`nlvx_campaign_split_id` AS `nlvx_campaign_split_id`, stored.`nlvx_user_id` AS `nlvx_user_id`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, stored.`url` AS `url`
FROM `sendgrid`.`group_resubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`account_status_change_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `type` LowCardinality(String),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`account_status_change` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`type` AS `type`
FROM `sendgrid`.`account_status_change_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`unknown_rows`
(
    `event_id` String,
    `user_id` String,
    `email` String,
    `event` LowCardinality(String),
    `timestamp` DateTime64(3, 'UTC'),
    `received_at` DateTime64(3, 'UTC'),
    `sg_event_id` String,
    `sg_message_id` String,
    `smtp_id` String,
    `category` Array(LowCardinality(String)),
    `custom_args` Map(LowCardinality(String), String),
    `raw` String,
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_user_id `user_id` TYPE bloom_filter(0.01),
    INDEX by_email `email` TYPE bloom_filter(0.01),
    INDEX by_sg_message_id `sg_message_id` TYPE bloom_filter(0.01)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`timestamp`)
ORDER BY (`timestamp`, `event_id`);

CREATE OR REPLACE VIEW `sendgrid`.`unknown` AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`raw` AS `raw`
FROM `sendgrid`.`unknown_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`deliveries_rows`
(
    `partition` UInt64,
    `offset` UInt64,
    `received_at` DateTime64(3, 'UTC'),
    `verified` LowCardinality(String),
    `bytes` UInt64,
    `events` UInt64,
    `malformed` UInt64,
    `identities` Array(UInt64),
    `stored_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(`stored_at`)
PARTITION BY toYYYYMM(`received_at`)
ORDER BY (`received_at`, `partition`, `offset`);

CREATE OR REPLACE VIEW `sendgrid`.`deliveries` AS
SELECT stored.`partition` AS `partition`, stored.`offset` AS `offset`, stored.`received_at` + toIntervalMillisecond(0) AS `received_at`, stored.`verified` AS `verified`, stored.`bytes` AS `bytes`, stored.`events` AS `events`, stored.`malformed` AS `malformed`, stored.`identities` AS `identities`
FROM `sendgrid`.`deliveries_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE TABLE IF NOT EXISTS `sendgrid`.`dead_letters_rows`
(
    `id` String,
    `source` LowCardinality(String),
    `step` LowCardinality(String),
    `reason` String,
    `received_at` DateTime64(3, 'UTC'),
    `payload` String,
    `encoding` LowCardinality(String),
    `topic` LowCardinality(String),
    `state` LowCardinality(String),
    `changed_at` DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`changed_at`)
PARTITION BY toYYYYMM(`received_at`)
ORDER BY (`received_at`, `id`);

CREATE OR REPLACE VIEW `sendgrid`.`dead_letters` AS
SELECT stored.`id` AS `id`, stored.`source` AS `source`, stored.`step` AS `step`, stored.`reason` AS `reason`, stored.`received_at` + toIntervalMillisecond(0) AS `received_at`, stored.`payload` AS `payload`, stored.`encoding` AS `encoding`, stored.`topic` AS `topic`, stored.`state` AS `state`, stored.`changed_at` AS `changed_at`
FROM `sendgrid`.`dead_letters_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW `sendgrid`.activity AS
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, defaultValueOfTypeName('String') AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`processed_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, stored.`reason` AS `reason`, stored.`response` AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, stored.`attempt` AS `attempt`, stored.`ip` AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`deferred_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, stored.`response` AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`delivered_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, stored.`reason` AS `reason`, defaultValueOfTypeName('String') AS `response`, stored.`status` AS `status`, stored.`type` AS `type`, stored.`bounce_classification` AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`bounce_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, stored.`reason` AS `reason`, defaultValueOfTypeName('String') AS `response`, stored.`status` AS `status`, stored.`type` AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, defaultValueOfTypeName('String') AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`dropped_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, stored.`sg_machine_open` AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`open_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`url` AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`click_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`spam_report_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`unsubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`url` AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`group_unsubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, stored.`url` AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, stored.`ip` AS `ip`, stored.`useragent` AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, stored.`asm_group_id` AS `asm_group_id`, stored.`marketing_campaign_id` AS `marketing_campaign_id`, stored.`marketing_campaign_name` AS `marketing_campaign_name`, stored.`singlesend_id` AS `singlesend_id`
FROM `sendgrid`.`group_resubscribe_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, stored.`type` AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, defaultValueOfTypeName('String') AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, defaultValueOfTypeName('Int64') AS `asm_group_id`, defaultValueOfTypeName('Int64') AS `marketing_campaign_id`, defaultValueOfTypeName('String') AS `marketing_campaign_name`, defaultValueOfTypeName('String') AS `singlesend_id`
FROM `sendgrid`.`account_status_change_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
UNION ALL
SELECT stored.`event_id` AS `event_id`, stored.`user_id` AS `user_id`, stored.`email` AS `email`, stored.`event` AS `event`, stored.`timestamp` + toIntervalMillisecond(0) AS `timestamp`, stored.`received_at` AS `received_at`, stored.`sg_event_id` AS `sg_event_id`, stored.`sg_message_id` AS `sg_message_id`, stored.`smtp_id` AS `smtp_id`, stored.`category` AS `category`, stored.`custom_args` AS `custom_args`, defaultValueOfTypeName('String') AS `url`, defaultValueOfTypeName('String') AS `reason`, defaultValueOfTypeName('String') AS `response`, defaultValueOfTypeName('String') AS `status`, defaultValueOfTypeName('LowCardinality(String)') AS `type`, defaultValueOfTypeName('LowCardinality(String)') AS `bounce_classification`, defaultValueOfTypeName('Int64') AS `attempt`, defaultValueOfTypeName('String') AS `ip`, defaultValueOfTypeName('String') AS `useragent`, defaultValueOfTypeName('Bool') AS `sg_machine_open`, defaultValueOfTypeName('Int64') AS `asm_group_id`, defaultValueOfTypeName('Int64') AS `marketing_campaign_id`, defaultValueOfTypeName('String') AS `marketing_campaign_name`, defaultValueOfTypeName('String') AS `singlesend_id`
FROM `sendgrid`.`unknown_rows` AS stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

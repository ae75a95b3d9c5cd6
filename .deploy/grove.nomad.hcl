# An example to start from: parsed and checked by Grove's tests, not run on a cluster by them.

job "grove" {
  type = "service"

  group "grove" {
    count = 1

    # The state has to be where the next allocation finds it.
    volume "state" {
      type            = "host"
      source          = "grove-state"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    update {
      max_parallel = 1
      canary       = 0
    }

    task "groved" {
      driver       = "docker"
      user         = "65532:65532"
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      config {
        # Name a digest in place of a tag.
        image           = "registry.example.com/grove:3.0.0"
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
        pids_limit      = 512

        mount {
          type     = "tmpfs"
          target   = "/tmp"
          readonly = false
        }
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/grove"
      }

      env {
        GROVE_CONFIG_LOCAL_FILE_PATH     = "${NOMAD_TASK_DIR}/conf"
        GROVE_OUTPUT_LOCAL_FILE_MANIFEST = "true"
        GROVE_SECRET_HANDLER             = "hashicorp_vault"
      }

      template {
        destination = "local/conf/heartbeat.json"
        data        = "{\"name\": \"heartbeat\", \"connector\": \"local_heartbeat\", \"identity\": \"cluster\"}"
      }

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}

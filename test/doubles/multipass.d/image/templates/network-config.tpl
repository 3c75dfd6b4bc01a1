{{ config_get("user.network-config", "")|safe }}

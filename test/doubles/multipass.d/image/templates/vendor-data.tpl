{{ config_get("user.vendor-data", "")|safe }}

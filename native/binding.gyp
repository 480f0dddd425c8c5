{
  "targets": [
    {
      "target_name": "shoal",
      # One folder per kernel (pure C++ behind a C interface); addon.cc is the only file that knows N-API.
      "sources": ["addon.cc", "<!@(node sources.mjs)"],
      "include_dirs": ["."],
      "defines": ["NAPI_VERSION=9"],
      "cflags": ["-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
      "cflags_cc!": ["-std=gnu++20", "-std=gnu++17"],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
        "GCC_OPTIMIZATION_LEVEL": "3"
      },
      "msvs_settings": {
        "VCCLCompilerTool": { "AdditionalOptions": ["/std:c++17", "/O2"] }
      }
    }
  ]
}

# The generated files in completions/ are what the program prints now.
foreach(file man:dish.1 bash:dish.bash zsh:dish.zsh fish:dish.fish)
    string(REPLACE ":" ";" pair ${file})
    list(GET pair 0 kind)
    list(GET pair 1 name)
    add_test(NAME shell.current-${name}
        COMMAND sh -c "$<TARGET_FILE:dish> --print=${kind} | cmp - ${CMAKE_SOURCE_DIR}/completions/${name} ||
            { echo 'run: cmake --build BUILD --target completions'; exit 1; }")
endforeach()

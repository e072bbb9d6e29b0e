# The generated files in completions/ are what the program prints now.
foreach(file man:dish.1 bash:dish.bash zsh:dish.zsh fish:dish.fish)
    string(REPLACE ":" ";" pair ${file})
    list(GET pair 0 kind)
    list(GET pair 1 name)
    add_test(NAME shell.current-${name}
        COMMAND sh -c "$<TARGET_FILE:dish> --print=${kind} | cmp - ${CMAKE_SOURCE_DIR}/completions/${name} ||
            { echo 'run: cmake --build BUILD --target completions'; exit 1; }")
endforeach()

# The manual page is one that troff has nothing to say about.
find_program(GROFF groff)
if(GROFF)
    add_test(NAME shell.man-renders
        COMMAND sh -c "warnings=$(${GROFF} -man -Tutf8 -Kutf8 -ww ${CMAKE_SOURCE_DIR}/completions/dish.1 2>&1 >/dev/null)
            test -z \"$warnings\" || { echo \"$warnings\"; exit 1; }")
endif()
